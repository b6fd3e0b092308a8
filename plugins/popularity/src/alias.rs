//! Draws from given weights in constant time: the alias method (Walker 1977, Vose 1991).

use rectool_plugin_sdk::Stream;

/// Each place is kept with its own probability and else gives way to its alias.
pub(crate) struct Alias {
    keep: Vec<f64>,
    alias: Vec<u32>,
}

impl Alias {
    /// For `weights`, whose sum is positive.
    pub(crate) fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut scaled: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..weights.len() as u32).partition(|at| scaled[*at as usize] < 1.0);
        // What rounding leaves over keeps itself.
        let mut keep = vec![1.0; weights.len()];
        let mut alias: Vec<u32> = (0..weights.len() as u32).collect();
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            keep[poor as usize] = scaled[poor as usize];
            alias[poor as usize] = rich;
            scaled[rich as usize] -= 1.0 - scaled[poor as usize];
            if scaled[rich as usize] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { keep, alias }
    }

    #[inline]
    pub(crate) fn draw(&self, stream: &mut Stream) -> usize {
        let place = stream.below(self.keep.len() as u32) as usize;
        if stream.next_f64() < self.keep[place] { place } else { self.alias[place] as usize }
    }
}
