//! Attributes in a part file: written by column, searched by postings and sorted numbers.

use std::collections::BTreeSet;

use rectool_base::nearest_name;

use super::attributes::{Attributes, ItemAttributes, Namespace};
use super::expression::{Comparison, Filter, NumberRule, TokenRule};
use super::rows::Bits;
use crate::error::AnnError;
use crate::file::{Kind, Meta, NamespaceMeta, PartWriter, Sections};

/// Writes attributes of rows that stand in `order`, and notes their names in `meta`.
pub(crate) fn write(
    writer: &mut PartWriter,
    meta: &mut Meta,
    attributes: &Attributes,
    order: &[u32],
) -> Result<(), AnnError> {
    for (index, namespace) in attributes.namespaces.iter().enumerate() {
        let mut starts = vec![0u32];
        let mut tokens = Vec::with_capacity(namespace.tokens.len());
        let mut counts = vec![0u32; namespace.names.len() + 1];
        for row in order {
            tokens.extend_from_slice(namespace.of(*row as usize));
            starts.push(tokens.len() as u32);
        }
        for token in &tokens {
            counts[*token as usize + 1] += 1;
        }
        for token in 0..namespace.names.len() {
            counts[token + 1] += counts[token];
        }
        let mut next = counts.clone();
        let mut postings = vec![0u32; tokens.len()];
        for row in 0..order.len() {
            for token in &tokens[starts[row] as usize..starts[row + 1] as usize] {
                let at = &mut next[*token as usize];
                postings[*at as usize] = row as u32;
                *at += 1;
            }
        }
        writer.section(Kind::TokenStarts, index, &starts)?;
        writer.section(Kind::Tokens, index, &tokens)?;
        writer.section(Kind::PostingStarts, index, &counts)?;
        writer.section(Kind::Postings, index, &postings)?;
        let (name, tokens) = (namespace.name.clone(), namespace.names.clone());
        meta.namespaces.push(NamespaceMeta { name, tokens });
    }
    for (index, (name, values)) in attributes.numbers.iter().enumerate() {
        let values: Vec<f64> = order.iter().map(|row| values[*row as usize]).collect();
        let mut sorted: Vec<u32> =
            (0..values.len() as u32).filter(|row| !values[*row as usize].is_nan()).collect();
        let value = |row: u32| values[row as usize];
        sorted.sort_by(|a, b| value(*a).total_cmp(&value(*b)).then(a.cmp(b)));
        writer.section(Kind::Numbers, index, &values)?;
        writer.section(Kind::NumberOrder, index, &sorted)?;
        meta.numbers.push(name.clone());
    }
    Ok(())
}

/// Attributes of an open part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttributeStore<'a> {
    pub(crate) sections: &'a Sections,
    pub(crate) meta: &'a Meta,
}

impl<'a> AttributeStore<'a> {
    /// Checks that some part or change has what a filter names.
    pub(crate) fn check(&self, filter: &Filter) -> Result<(), AnnError> {
        let namespaces = || self.meta.namespaces.iter().map(|namespace| namespace.name.as_str());
        let numbers = || self.meta.numbers.iter().map(String::as_str);
        for TokenRule { namespace, .. } in &filter.tokens {
            if !namespaces().any(|known| known == namespace) {
                return Err(unknown("namespace", namespace, namespaces()));
            }
        }
        for NumberRule { name, .. } in &filter.numbers {
            if !numbers().any(|known| known == name) {
                return Err(unknown("number", name, numbers()));
            }
        }
        Ok(())
    }

    /// The rows that satisfy a filter. What the part does not know, no row has.
    pub(crate) fn rows(&self, filter: &Filter) -> Bits {
        let rows = self.meta.rows;
        let mut found: Option<Bits> = None;
        for rule in &filter.tokens {
            if !rule.allow.is_empty() {
                meet(&mut found, self.rows_with(&rule.namespace, &rule.allow));
            }
            if !rule.deny.is_empty() {
                let denied = self.rows_with(&rule.namespace, &rule.deny);
                found.get_or_insert_with(|| Bits::all(rows)).drop_all(&denied);
            }
        }
        for rule in &filter.numbers {
            meet(&mut found, self.rows_comparing(rule));
        }
        found.unwrap_or_else(|| Bits::all(rows))
    }

    fn rows_with(&self, namespace: &str, tokens: &[String]) -> Bits {
        let mut found = Bits::none(self.meta.rows);
        for token in tokens {
            self.postings(namespace, token).iter().for_each(|row| found.insert(*row));
        }
        found
    }

    /// Rows with a token, rising.
    fn postings(&self, namespace: &str, token: &str) -> &'a [u32] {
        let Some((index, names)) = self.namespace(namespace) else { return &[] };
        let Ok(token) = names.binary_search_by(|name| name.as_str().cmp(token)) else {
            return &[];
        };
        let starts = self.sections.values::<u32>(Kind::PostingStarts, index);
        let postings = self.sections.values::<u32>(Kind::Postings, index);
        let range = starts[token] as usize..starts[token + 1] as usize;
        // A file that was changed after its build may hold any starts.
        postings.get(range).unwrap_or_default()
    }

    fn namespace(&self, name: &str) -> Option<(usize, &'a [String])> {
        let all = self.meta.namespaces.iter().enumerate();
        let mut found = all.filter(|(_, namespace)| namespace.name == name);
        found.next().map(|(index, namespace)| (index, &*namespace.tokens))
    }

    fn rows_comparing(&self, rule: &NumberRule) -> Bits {
        let mut found = Bits::none(self.meta.rows);
        let Some(index) = self.meta.numbers.iter().position(|name| *name == rule.name) else {
            return found;
        };
        let values = self.sections.values::<f64>(Kind::Numbers, index);
        let order = self.sections.values::<u32>(Kind::NumberOrder, index);
        let value = |row: &u32| values.get(*row as usize).copied().unwrap_or(f64::NAN);
        let below = order.partition_point(|row| value(row) < rule.value);
        let upto = order.partition_point(|row| value(row) <= rule.value).max(below);
        let (first, second) = match rule.comparison {
            Comparison::Less => (0..below, 0..0),
            Comparison::LessEqual => (0..upto, 0..0),
            Comparison::Equal => (below..upto, 0..0),
            Comparison::NotEqual => (0..below, upto..order.len()),
            Comparison::Greater => (upto..order.len(), 0..0),
            Comparison::GreaterEqual => (below..order.len(), 0..0),
        };
        order[first].iter().chain(&order[second]).for_each(|row| found.insert(*row));
        found
    }

    /// The first token of a row in a namespace: what crowding counts.
    pub(crate) fn first_token(&self, namespace: &str, row: u32) -> Option<&'a str> {
        let (index, names) = self.namespace(namespace)?;
        let token = *self.tokens(index, row).first()?;
        names.get(token as usize).map(String::as_str)
    }

    fn tokens(&self, index: usize, row: u32) -> &'a [u32] {
        let starts = self.sections.values::<u32>(Kind::TokenStarts, index);
        let tokens = self.sections.values::<u32>(Kind::Tokens, index);
        let start = |row: usize| starts.get(row).map_or(0, |start| *start as usize);
        tokens.get(start(row as usize)..start(row as usize + 1)).unwrap_or_default()
    }

    /// The attributes of places by columns: of rows, and of what `changed` knows. What nothing has
    /// any more is left out.
    pub(crate) fn gather<'b>(
        &self,
        places: &[u32],
        changed: impl Fn(u32) -> Option<&'b ItemAttributes>,
    ) -> Result<Attributes, AnnError> {
        let changes = || places.iter().filter_map(|place| changed(*place));
        let mut all = Attributes::new(places.len());
        let known = self.meta.namespaces.iter().map(|namespace| namespace.name.as_str());
        let names: BTreeSet<&str> =
            known.chain(changes().flat_map(ItemAttributes::namespaces)).collect();
        for name in names {
            if let Some(namespace) = self.gather_tokens(name, places, &changed)? {
                all.namespaces.push(namespace);
            }
        }
        let known = self.meta.numbers.iter().map(String::as_str);
        let names: BTreeSet<&str> =
            known.chain(changes().flat_map(ItemAttributes::number_names)).collect();
        for name in names {
            let values = self.gather_numbers(name, places, &changed);
            if values.iter().any(|value| !value.is_nan()) {
                all.numbers.push((name.to_owned(), values));
            }
        }
        Ok(all)
    }

    /// The number that places have by a name; NaN if they have none.
    fn gather_numbers<'b>(
        &self,
        name: &str,
        places: &[u32],
        changed: impl Fn(u32) -> Option<&'b ItemAttributes>,
    ) -> Vec<f64> {
        let index = self.meta.numbers.iter().position(|known| known == name);
        let own = index.map_or(&[][..], |index| self.sections.values(Kind::Numbers, index));
        let number = |place: &u32| match changed(*place) {
            Some(item) => item.number(name),
            None => own.get(*place as usize).copied(),
        };
        places.iter().map(|place| number(place).unwrap_or(f64::NAN)).collect()
    }

    /// The tokens that places have in a namespace; `None` if there are none.
    fn gather_tokens<'b>(
        &self,
        name: &str,
        places: &[u32],
        changed: impl Fn(u32) -> Option<&'b ItemAttributes>,
    ) -> Result<Option<Namespace>, AnnError> {
        let (index, own) = self.namespace(name).unwrap_or((usize::MAX, &[]));
        let mut used = vec![false; own.len()];
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for place in places {
            match changed(*place) {
                Some(item) => names.extend(item.tokens(name)),
                None => self.tokens(index, *place).iter().for_each(|token| {
                    if let Some(used) = used.get_mut(*token as usize) {
                        *used = true;
                    }
                }),
            }
        }
        let used = own.iter().zip(used).filter(|(_, used)| *used);
        names.extend(used.map(|(token, _)| token.as_str()));
        if names.is_empty() {
            return Ok(None);
        }
        let (mut namespace, numbers) = Namespace::new(name, names);
        let number_of = |token: &str| numbers.get(token).copied();
        let renumbered: Vec<Option<u32>> = own.iter().map(|token| number_of(token)).collect();
        for place in places {
            if let Some(item) = changed(*place) {
                namespace.push(item.tokens(name).filter_map(number_of))?;
                continue;
            }
            let own = self.tokens(index, *place).iter();
            namespace.push(own.filter_map(|token| *renumbered.get(*token as usize)?))?;
        }
        Ok(Some(namespace))
    }
}

fn unknown<'a>(kind: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> AnnError {
    let nearest = nearest_name(name, known).map(str::to_owned);
    AnnError::UnknownAttribute { kind, name: name.to_owned(), nearest }
}

fn meet(found: &mut Option<Bits>, rows: Bits) {
    match found {
        Some(found) => found.keep(&rows),
        None => *found = Some(rows),
    }
}
