//! Which candidates a row is linked with: those to which no link before them leads.

use super::near::{Candidate, Candidates, Copied};
use crate::kernel::{Arithmetic, Kernel, dispatch, dot_with};

/// How much nearer to a link than to the row a candidate must lie to be left to that link.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// By distance.
    Near(f32),
    /// By inner product.
    Large(f32),
}

/// Adds to `kept` (places) those of `candidates`, the best first, to which nothing kept leads; until
/// `count` are kept.
fn prune(
    copied: &Copied,
    (own, half): (u32, f32),
    candidates: &[Candidate],
    (rule, count): (Rule, usize),
    kept: &mut Vec<u32>,
) {
    dispatch(Prune { copied, own, half, candidates, rule, count, kept });
}

struct Prune<'a> {
    copied: &'a Copied,
    own: u32,
    half: f32,
    candidates: &'a [Candidate],
    rule: Rule,
    count: usize,
    kept: &'a mut Vec<u32>,
}

impl Kernel for Prune<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { copied, own, half, candidates, rule, count, kept } = self;
        let dim = copied.values.len() / copied.rows.len().max(1);
        for (product, place) in candidates {
            if kept.len() >= count {
                return;
            }
            if *place == own || kept.contains(place) {
                continue;
            }
            let values = &copied.values[*place as usize * dim..][..dim];
            let own_half = copied.halves[*place as usize];
            let mut led = false;
            for link in kept.iter() {
                let other = &copied.values[*link as usize * dim..][..dim];
                let between = dot_with::<A>(values, other);
                led = match rule {
                    // Half of squared distances.
                    Rule::Near(factor) => {
                        let there = copied.halves[*link as usize] + own_half - between;
                        factor * there < half + own_half - product
                    }
                    Rule::Large(factor) => factor * between > *product,
                };
                if led {
                    break;
                }
            }
            if !led {
                kept.push(*place);
            }
        }
    }
}

/// A candidate is left to a link that is 1.2 times nearer to it (by squared distance) than the row.
const NEAR: Rule = Rule::Near(1.2);
/// Or to one whose product with it, a little reduced, is larger than the row's: 0.8 and 1.1 were no better.
const LARGE: Rule = Rule::Large(0.95);

/// The links of a row, at most `degree`, as places among `copied`: those to which no better link leads, by
/// products first where there are any; then the best of the others.
pub(crate) fn choose_links(
    copied: &Copied,
    (own, half): (u32, f32),
    candidates: &Candidates,
    degree: usize,
    kept: &mut Vec<u32>,
) {
    kept.clear();
    prune(copied, (own, half), &candidates.largest, (LARGE, degree), kept);
    prune(copied, (own, half), &candidates.nearest, (NEAR, degree), kept);
    for (_, place) in candidates.largest.iter().chain(&candidates.nearest) {
        if kept.len() >= degree {
            return;
        }
        if *place != own && !kept.contains(place) {
            kept.push(*place);
        }
    }
}
