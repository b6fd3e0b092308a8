//! Follow the regularised leader.

use super::Rule;

/// FTRL-Proximal per value (McMahan et al. 2013, "Ad click prediction: a view from the trenches").
/// State: z \[D\], then n \[D\].
#[derive(Clone, Copy)]
pub(crate) struct Ftrl {
    /// α.
    pub(crate) rate: f32,
    pub(crate) beta: f32,
    pub(crate) l1: f32,
    pub(crate) l2: f32,
}

impl Ftrl {
    /// The z of which `value` is the solution while n is still 0.
    pub(crate) fn linear(self, value: f32) -> f32 {
        if value == 0.0 {
            return 0.0;
        }
        -value * (self.beta / self.rate + self.l2) - self.l1 * value.signum()
    }
}

impl Rule for Ftrl {
    #[inline(always)]
    fn step(self, values: &mut [f32], state: &mut [f32], gradient: &mut [f32], _: u32) {
        let (linear, squares) = state.split_at_mut(values.len());
        let inverse = 1.0 / self.rate;
        for (((w, z), n), g) in values.iter_mut().zip(linear).zip(squares).zip(gradient) {
            let root = n.sqrt();
            *n += *g * *g;
            let root_new = n.sqrt();
            *z += *g - (root_new - root) * inverse * *w;
            let excess = z.abs() - self.l1;
            let solved = -excess.copysign(*z) / ((self.beta + root_new) * inverse + self.l2);
            *w = if excess > 0.0 { solved } else { 0.0 };
        }
    }
}
