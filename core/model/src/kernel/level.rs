//! Which vector instructions this machine has.

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instructions {
    /// Whatever the build's target has.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F, and AVX2 and FMA with it.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Proof that this machine has a set of instructions: it is made by detection only, so that code
/// which is compiled for the set may be called where a `Level` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(Instructions);

impl Level {
    /// The best level of this machine. The detection is cached by the standard library.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let wide = is_x86_feature_detected!("avx512f");
            return Self(if wide { Instructions::Avx512 } else { Instructions::Avx2 });
        }
        Self(Instructions::Portable)
    }

    /// The instructions that this machine is known to have.
    pub(crate) fn instructions(self) -> Instructions {
        self.0
    }

    /// Every level of this machine, the portable one first.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut levels = vec![Self(Instructions::Portable)];
        #[cfg(target_arch = "x86_64")]
        match Self::best().0 {
            Instructions::Portable => (),
            Instructions::Avx2 => levels.push(Self(Instructions::Avx2)),
            Instructions::Avx512 => {
                levels.extend([Self(Instructions::Avx2), Self(Instructions::Avx512)]);
            }
        }
        levels
    }
}

/// Compiles a loop twice, for the build's target and for AVX2, and calls the one that fits the
/// [`Level`] given as first argument.
///
/// The body is plain safe code; it is only the compiler's choice of instructions that differs.
/// Without this a build for plain x86-64 would use 128-bit vectors. Multiplications and additions
/// are never contracted, so both give the same bits.
macro_rules! vectorised {
    (
        $(#[$meta:meta])*
        $visible:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block
    ) => {
        $(#[$meta])*
        $visible fn $name(level: $crate::kernel::Level, $($arg: $type),*) $(-> $result)? {
            // Inlined, so that the body takes its caller's instructions.
            #[inline(always)]
            fn portable($($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) $(-> $result)? {
                portable($($arg),*)
            }

            match level.instructions() {
                $crate::kernel::Instructions::Portable => portable($($arg),*),
                #[cfg(target_arch = "x86_64")]
                #[expect(unsafe_code, reason = "code for instructions beyond the build's target")]
                // SAFETY: a `Level` that names these instructions exists only where both were
                // detected; the function has no other requirement.
                _ => unsafe { avx2($($arg),*) },
            }
        }
    };
}
pub(crate) use vectorised;
