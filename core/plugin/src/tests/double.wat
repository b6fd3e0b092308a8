;; A transform written by hand: every float of every column times 2; ids pass through.
;;
;; It shows the canonical ABI at its plainest: arguments arrive in memory that `cabi_realloc` gives
;; out, a result is the address of a record, and `cabi_post_...` runs when the host has read it.
(module
  (memory (export "memory") 1)

  ;; The `description` record: name, version and summary (address, length each), no parameters.
  (data (i32.const 16)
    "\40\00\00\00" "\06\00\00\00"
    "\50\00\00\00" "\05\00\00\00"
    "\60\00\00\00" "\13\00\00\00"
    "\00\00\00\00" "\00\00\00\00")
  (data (i32.const 0x40) "double")
  (data (i32.const 0x50) "1.0.0")
  (data (i32.const 0x60) "Doubles every float")

  ;; Memory is handed out from 1024 on and taken back as a whole after each call.
  (global $free (mut i32) (i32.const 1024))

  (func (export "cabi_realloc")
    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32) (local $missing i32)
    (local.set $at (i32.and
      (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.set $missing
      (i32.sub (global.get $free) (i32.shl (memory.size) (i32.const 16))))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then
        (if (i32.eq (i32.const -1)
              (memory.grow (i32.shr_u
                (i32.add (local.get $missing) (i32.const 65535)) (i32.const 16))))
          (then (unreachable)))))
    (local.get $at))

  (func (export "rectool:plugin/about@1.0.0#describe") (result i32)
    (i32.const 16))

  ;; A `result`: 0 (ok) at 0x80, then address and length of the list.
  (func $ok (param $list i32) (param $length i32) (result i32)
    (i32.store (i32.const 0x80) (i32.const 0))
    (i32.store (i32.const 0x84) (local.get $list))
    (i32.store (i32.const 0x88) (local.get $length))
    (i32.const 0x80))

  ;; The columns that come out are typed like those that go in.
  (func (export "rectool:plugin/transform@1.0.0#configure")
    (param $parameters i32) (param $parameters_length i32) (param $inputs i32) (param $length i32)
    (result i32)
    (call $ok (local.get $inputs) (local.get $length)))

  ;; A column has 36 bytes: its case (0: floats) and, for floats, address and length.
  (func (export "rectool:plugin/transform@1.0.0#apply")
    (param $rows i32) (param $columns i32) (param $length i32) (result i32)
    (local $column i32) (local $left i32)
    (local.set $column (local.get $columns))
    (local.set $left (local.get $length))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (if (i32.eqz (i32.load8_u (local.get $column)))
          (then (call $double
            (i32.load offset=4 (local.get $column))
            (i32.load offset=8 (local.get $column)))))
        (local.set $column (i32.add (local.get $column) (i32.const 36)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (call $ok (local.get $columns) (local.get $length)))

  (func $double (param $at i32) (param $length i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (i32.shl (local.get $length) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (f32.store (local.get $at) (f32.mul (f32.load (local.get $at)) (f32.const 2)))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br $next))))

  (func (export "cabi_post_rectool:plugin/transform@1.0.0#configure") (param i32)
    (global.set $free (i32.const 1024)))
  (func (export "cabi_post_rectool:plugin/transform@1.0.0#apply") (param i32)
    (global.set $free (i32.const 1024))))
