;; Binary cross-entropy written by hand, in double precision.
(module
  (memory (export "memory") 2)

  ;; The `description` record: name, version and summary (address, length each), no parameters.
  (data (i32.const 16)
    "\40\00\00\00" "\08\00\00\00"
    "\50\00\00\00" "\05\00\00\00"
    "\60\00\00\00" "\14\00\00\00"
    "\00\00\00\00" "\00\00\00\00")
  (data (i32.const 0x40) "bce-text")
  (data (i32.const 0x50) "1.0.0")
  (data (i32.const 0x60) "Binary cross-entropy")

  ;; Memory is handed out from 1024 on and taken back as a whole after each evaluation.
  (global $free (mut i32) (i32.const 1024))

  (func $realloc (export "cabi_realloc")
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

  ;; 0 (ok), logits that are log-odds (0), labels that are binary (0), no columns: all zeros.
  (func (export "rectool:plugin/objective@1.0.0#configure") (param i32 i32) (result i32)
    (i32.const 0x100))
  (func (export "rectool:plugin/objective@1.0.0#bind") (param i32 i32) (result i32)
    (i32.const 0x100))

  ;; For x from -700 to 0: 2^k times a series in the rest.
  (func $exp (param $x f64) (result f64)
    (local $k f64) (local $n f64) (local $sum f64)
    (local.set $k (f64.nearest (f64.mul (local.get $x) (f64.const 1.4426950408889634))))
    (local.set $x
      (f64.sub (local.get $x) (f64.mul (local.get $k) (f64.const 0.6931471805599453))))
    (local.set $n (f64.const 14))
    (local.set $sum (f64.const 1))
    (loop $next
      (local.set $sum (f64.add (f64.const 1)
        (f64.div (f64.mul (local.get $sum) (local.get $x)) (local.get $n))))
      (local.set $n (f64.sub (local.get $n) (f64.const 1)))
      (br_if $next (f64.gt (local.get $n) (f64.const 0))))
    (f64.mul (local.get $sum)
      (f64.reinterpret_i64 (i64.shl
        (i64.add (i64.trunc_f64_s (local.get $k)) (i64.const 1023)) (i64.const 52)))))

  ;; ln(1 + x) for x from 0 to 1: twice the inverse hyperbolic tangent of x / (2 + x).
  (func $ln_1p (param $x f64) (result f64)
    (local $square f64) (local $n f64) (local $sum f64)
    (local.set $x (f64.div (local.get $x) (f64.add (f64.const 2) (local.get $x))))
    (local.set $square (f64.mul (local.get $x) (local.get $x)))
    (local.set $n (f64.const 35))
    (loop $next
      (local.set $sum (f64.add (f64.mul (local.get $sum) (local.get $square))
        (f64.div (f64.const 1) (local.get $n))))
      (local.set $n (f64.sub (local.get $n) (f64.const 2)))
      (br_if $next (f64.gt (local.get $n) (f64.const 0))))
    (f64.mul (f64.mul (f64.const 2) (local.get $x)) (local.get $sum)))

  (func (export "rectool:plugin/objective@1.0.0#evaluate")
    (param $logits i32) (param $rows i32) (param $labels i32) (param i32)
    (param $weights i32) (param $weighted i32) (param i32 i32) (result i32)
    (local $losses i32) (local $gradients i32) (local $at i32) (local $end i32)
    (local $z f64) (local $y f64) (local $w f64) (local $small f64) (local $share f64)
    (local.set $end (i32.shl (local.get $rows) (i32.const 2)))
    (local.set $losses
      (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (local.get $end)))
    (local.set $gradients
      (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (local.get $end)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $z
          (f64.promote_f32 (f32.load (i32.add (local.get $logits) (local.get $at)))))
        (local.set $y
          (f64.promote_f32 (f32.load (i32.add (local.get $labels) (local.get $at)))))
        (local.set $w (f64.const 1))
        (if (local.get $weighted) (then (local.set $w
          (f64.promote_f32 (f32.load (i32.add (local.get $weights) (local.get $at)))))))
        (local.set $small (call $exp
          (f64.max (f64.neg (f64.abs (local.get $z))) (f64.const -700))))
        (local.set $share (f64.div
          (select (local.get $small) (f64.const 1) (f64.lt (local.get $z) (f64.const 0)))
          (f64.add (f64.const 1) (local.get $small))))
        (f32.store (i32.add (local.get $losses) (local.get $at))
          (f32.demote_f64 (f64.mul (local.get $w) (f64.add
            (f64.sub (f64.max (local.get $z) (f64.const 0))
              (f64.mul (local.get $z) (local.get $y)))
            (call $ln_1p (local.get $small))))))
        (f32.store (i32.add (local.get $gradients) (local.get $at))
          (f32.demote_f64 (f64.mul (local.get $w) (f64.sub (local.get $share) (local.get $y)))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br $next)))
    ;; 0 (ok), then address and length of both lists.
    (i32.store (i32.const 0x124) (local.get $losses))
    (i32.store (i32.const 0x128) (local.get $rows))
    (i32.store (i32.const 0x12c) (local.get $gradients))
    (i32.store (i32.const 0x130) (local.get $rows))
    (i32.const 0x120))

  (func (export "cabi_post_rectool:plugin/objective@1.0.0#evaluate") (param i32)
    (global.set $free (i32.const 1024))))
