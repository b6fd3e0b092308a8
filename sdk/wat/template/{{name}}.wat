;; {{name}}: multiplies float columns by a factor, written by hand.
;;
;; This is the whole of what a toolchain has to do for a plugin. Functions are named
;; `rectool:plugin/INTERFACE@1.0.0#FUNCTION`. Lists and texts are passed as address and length, records
;; as their fields in order, each aligned to its size. The host writes arguments into memory that
;; `cabi_realloc` hands out; a function gives back the address of its result, which the host reads before
;; it calls anything else.
(module
  (memory (export "memory") 1)

  ;; Constants, below 4096. Texts end with a zero, so that their length can be counted.
  (data (i32.const 0x100) "{{name}}\00")
  (data (i32.const 0x200) "0.1.0\00")
  (data (i32.const 0x210) "multiplies float columns by a factor\00")
  (data (i32.const 0x240) "factor\00")
  (data (i32.const 0x250) "what each value is multiplied by\00")
  (data (i32.const 0x280) "expected float columns, found another type in \00")

  ;; The only parameter, a `parameter-type` of 96 bytes at 0x400: name, address 0, length 4; type, 8;
  ;; default: there 16, type 24, value 32; least 40; greatest 56; choices 72; unit 80; help 88.
  (data (i32.const 0x400) "\40\02\00\00" "\06\00\00\00" "\02\00\00\00\00\00\00\00")  ;; 2: a number
  (data (i32.const 0x410) "\01\00\00\00\00\00\00\00" "\02\00\00\00\00\00\00\00")
  (data (i32.const 0x420) "\00\00\00\00\00\00\f0\3f")                                ;; 1.0
  (data (i32.const 0x458) "\50\02\00\00" "\20\00\00\00")

  (global $factor (mut f32) (f32.const 1))

  ;; Memory from 4096 on is handed out upwards, and taken back when the next call's first argument
  ;; is asked for.
  (global $free (mut i32) (i32.const 4096))
  (global $call_ended (mut i32) (i32.const 0))

  (func $allocate (export "cabi_realloc")
    (param $old i32) (param $old_bytes i32) (param $alignment i32) (param $bytes i32) (result i32)
    (local $address i32) (local $pages i32)
    (if (global.get $call_ended)
      (then
        (global.set $call_ended (i32.const 0))
        (global.set $free (i32.const 4096))))
    ;; Rounded up to a multiple of 8, which is enough for any type.
    (local.set $address (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $address) (local.get $bytes)))
    ;; Past the end, or wrapped around: grow by what is missing, in pages of 64 KiB.
    (if (i32.lt_u (global.get $free) (local.get $address)) (then (unreachable)))
    (local.set $pages (i32.add (i32.shr_u (global.get $free) (i32.const 16)) (i32.const 1)))
    (if (i32.gt_u (local.get $pages) (memory.size))
      (then
        (if (i32.eq (memory.grow (i32.sub (local.get $pages) (memory.size))) (i32.const -1))
          (then (unreachable)))))
    (memory.copy (local.get $address) (local.get $old) (local.get $old_bytes))
    (local.get $address))

  ;; Bytes of the text at an address.
  (func $length (param $text i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $text))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $text)))

  ;; Writes address and length of a text.
  (func $write_text (param $where i32) (param $text i32)
    (i32.store (local.get $where) (local.get $text))
    (i32.store offset=4 (local.get $where) (call $length (local.get $text))))

  ;; The `description` at 0x500: name, version, summary, parameters.
  (func (export "rectool:plugin/about@1.0.0#describe") (result i32)
    (call $write_text (i32.const 0x500) (i32.const 0x100))
    (call $write_text (i32.const 0x508) (i32.const 0x200))
    (call $write_text (i32.const 0x510) (i32.const 0x210))
    (i32.store (i32.const 0x518) (i32.const 0x400))
    (i32.store (i32.const 0x51c) (i32.const 1))
    (i32.const 0x500))

  ;; A `result` at 0x600: 0 for success, then the list.
  (func $success (param $list i32) (param $length i32) (result i32)
    (i32.store (i32.const 0x600) (i32.const 0))
    (i32.store (i32.const 0x604) (local.get $list))
    (i32.store (i32.const 0x608) (local.get $length))
    (global.set $call_ended (i32.const 1))
    (i32.const 0x600))

  ;; A `result` that is a fault: 1, then the message and no row. The message names a column.
  (func $refuse (param $column i32) (result i32)
    (local $name i32) (local $name_bytes i32) (local $message i32) (local $bytes i32)
    (local.set $name (i32.load (local.get $column)))
    (local.set $name_bytes (i32.load offset=4 (local.get $column)))
    (local.set $bytes (call $length (i32.const 0x280)))
    (local.set $message
      (call $allocate (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.add (local.get $bytes) (local.get $name_bytes))))
    (memory.copy (local.get $message) (i32.const 0x280) (local.get $bytes))
    (memory.copy (i32.add (local.get $message) (local.get $bytes)) (local.get $name) (local.get $name_bytes))
    (i32.store (i32.const 0x600) (i32.const 1))
    (i32.store (i32.const 0x604) (local.get $message))
    (i32.store (i32.const 0x608) (i32.add (local.get $bytes) (local.get $name_bytes)))
    (i32.store (i32.const 0x60c) (i32.const 0))
    (global.set $call_ended (i32.const 1))
    (i32.const 0x600))

  ;; Takes the parameters and the types of the columns; the same columns come out.
  (func (export "rectool:plugin/transform@1.0.0#configure")
    (param $parameters i32) (param $parameters_length i32) (param $columns i32) (param $length i32)
    (result i32)
    (local $column i32) (local $end i32)
    ;; A `parameter` has 24 bytes: name, 0; type, 8; value, 16. There is one, and it is a number.
    (global.set $factor (f32.demote_f64 (f64.load offset=16 (local.get $parameters))))
    ;; A `column-type` has 28: name, 0; element, 8 (0: float32); shape, 12; members, 20.
    (local.set $column (local.get $columns))
    (local.set $end (i32.add (local.get $columns) (i32.mul (local.get $length) (i32.const 28))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $column) (local.get $end)))
        (if (i32.load8_u offset=8 (local.get $column))
          (then (return (call $refuse (local.get $column)))))
        (local.set $column (i32.add (local.get $column) (i32.const 28)))
        (br $next)))
    (call $success (local.get $columns) (local.get $length)))

  ;; Multiplies every value where it lies. A missing value is NaN, and stays one.
  (func (export "rectool:plugin/transform@1.0.0#apply")
    (param $rows i32) (param $columns i32) (param $length i32) (result i32)
    (local $column i32) (local $end i32)
    ;; A `column` has 36 bytes: its case, 0 (0: floats, 3: jagged floats); then the lists, the
    ;; floats at 4, or, after the offsets of the rows, at 12.
    (local.set $column (local.get $columns))
    (local.set $end (i32.add (local.get $columns) (i32.mul (local.get $length) (i32.const 36))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $column) (local.get $end)))
        (if (i32.eqz (i32.load8_u (local.get $column)))
          (then (call $scale (i32.load offset=4 (local.get $column)) (i32.load offset=8 (local.get $column))))
          (else (call $scale (i32.load offset=12 (local.get $column)) (i32.load offset=16 (local.get $column)))))
        (local.set $column (i32.add (local.get $column) (i32.const 36)))
        (br $next)))
    (call $success (local.get $columns) (local.get $length)))

  (func $scale (param $value i32) (param $count i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $value) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $value) (local.get $end)))
        (f32.store (local.get $value) (f32.mul (f32.load (local.get $value)) (global.get $factor)))
        (local.set $value (i32.add (local.get $value) (i32.const 4)))
        (br $next)))))
