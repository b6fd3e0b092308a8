//! Columns and their types.

use crate::{Column, ColumnType, Element, Fault, FloatLists, IntLists, Shape, TextLists, Texts};

impl ColumnType {
    fn of(name: &str, element: Element, shape: Shape) -> Self {
        Self { name: name.to_owned(), element, shape, members: Vec::new() }
    }

    /// `width` floats per row.
    pub fn floats(name: &str, width: u32) -> Self {
        Self::of(name, Element::Float32, Shape::Fixed(width))
    }

    /// `width` ids per row.
    pub fn ids(name: &str, width: u32) -> Self {
        Self::of(name, Element::Int64, Shape::Fixed(width))
    }

    /// `width` texts per row.
    pub fn texts(name: &str, width: u32) -> Self {
        Self::of(name, Element::Text, Shape::Fixed(width))
    }

    /// Any number of floats per row.
    pub fn float_lists(name: &str) -> Self {
        Self::of(name, Element::Float32, Shape::Jagged)
    }

    /// Any number of ids per row.
    pub fn id_lists(name: &str) -> Self {
        Self::of(name, Element::Int64, Shape::Jagged)
    }

    /// Any number of texts per row.
    pub fn text_lists(name: &str) -> Self {
        Self::of(name, Element::Text, Shape::Jagged)
    }

    /// The same column with values of another type.
    pub fn with_element(&self, element: Element) -> Self {
        Self { element, ..self.clone() }
    }

    /// Values per row, or `None` where rows differ.
    pub fn width(&self) -> Option<usize> {
        match self.shape {
            Shape::Fixed(width) => Some(width as usize),
            Shape::Jagged => None,
        }
    }

    /// The name of value `at` of a row, for messages: `I5`, `dense[4]`.
    pub fn member_name(&self, at: usize) -> String {
        match (self.members.get(at), self.width()) {
            (Some(member), _) => member.clone(),
            (None, Some(1) | None) => self.name.clone(),
            (None, _) => format!("{}[{at}]", self.name),
        }
    }

    /// The fault of taking this column where `expected` is taken.
    pub fn fault(&self, expected: &str) -> Fault {
        Fault::new(format!("column `{}` is {self}, expected {expected}", self.name))
    }

    /// Checks that the values are floats.
    ///
    /// # Errors
    /// If they are not.
    pub fn expect_floats(&self) -> Result<(), Fault> {
        self.expect(&[Element::Float32], "floats")
    }

    /// Checks that the values are ids.
    ///
    /// # Errors
    /// If they are not.
    pub fn expect_ids(&self) -> Result<(), Fault> {
        self.expect(&[Element::Int64], "ids")
    }

    /// Checks that the values are texts.
    ///
    /// # Errors
    /// If they are not.
    pub fn expect_texts(&self) -> Result<(), Fault> {
        self.expect(&[Element::Text], "texts")
    }

    /// Checks that the values are ids or texts.
    ///
    /// # Errors
    /// If they are neither.
    pub fn expect_ids_or_texts(&self) -> Result<(), Fault> {
        self.expect(&[Element::Int64, Element::Text], "ids or texts")
    }

    fn expect(&self, elements: &[Element], expected: &str) -> Result<(), Fault> {
        if elements.contains(&self.element) { Ok(()) } else { Err(self.fault(expected)) }
    }
}

/// `f32[13]`, `i64 list`.
impl std::fmt::Display for ColumnType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.element {
            Element::Float32 => "f32",
            Element::Int64 => "i64",
            Element::Text => "text",
        })?;
        match self.shape {
            Shape::Fixed(width) => write!(f, "[{width}]"),
            Shape::Jagged => f.write_str(" list"),
        }
    }
}

/// The values of a column, whether each row holds as many or not. Those that panic need no check
/// before: `configure` has seen the types, and the host gives no other.
impl Column {
    /// The floats of all rows.
    ///
    /// # Panics
    /// If it is a column of anything but floats.
    pub fn floats(&self) -> &[f32] {
        match self {
            Self::Floats(values) | Self::FloatLists(FloatLists { values, .. }) => values,
            _ => panic!("floats of a column of {}", self.element_name()),
        }
    }

    /// The floats of all rows, to be changed in place.
    ///
    /// # Panics
    /// If it is a column of anything but floats.
    pub fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Self::Floats(values) | Self::FloatLists(FloatLists { values, .. }) => values,
            _ => panic!("floats of a column of {}", self.element_name()),
        }
    }

    /// The ids of all rows.
    ///
    /// # Panics
    /// If it is a column of anything but ids.
    pub fn ids(&self) -> &[i64] {
        match self {
            Self::Ints(values) | Self::IntLists(IntLists { values, .. }) => values,
            _ => panic!("ids of a column of {}", self.element_name()),
        }
    }

    /// The ids of all rows, to be changed in place.
    ///
    /// # Panics
    /// If it is a column of anything but ids.
    pub fn ids_mut(&mut self) -> &mut [i64] {
        match self {
            Self::Ints(values) | Self::IntLists(IntLists { values, .. }) => values,
            _ => panic!("ids of a column of {}", self.element_name()),
        }
    }

    /// The texts of all rows.
    ///
    /// # Panics
    /// If it is a column of anything but texts.
    pub fn texts(&self) -> &Texts {
        match self {
            Self::Texts(values) | Self::TextLists(TextLists { values, .. }) => values,
            _ => panic!("texts of a column of {}", self.element_name()),
        }
    }

    /// Where the rows of a jagged column start, one more than rows; `None` of a fixed one.
    pub fn offsets(&self) -> Option<&[u32]> {
        match self {
            Self::FloatLists(FloatLists { offsets, .. })
            | Self::IntLists(IntLists { offsets, .. })
            | Self::TextLists(TextLists { offsets, .. }) => Some(offsets),
            Self::Floats(_) | Self::Ints(_) | Self::Texts(_) => None,
        }
    }

    /// A column of the same rows with `ids`, one for each value of this one.
    pub fn with_ids(self, ids: Vec<i64>) -> Self {
        match self {
            Self::Floats(_) | Self::Ints(_) | Self::Texts(_) => Self::Ints(ids),
            Self::FloatLists(FloatLists { offsets, .. })
            | Self::IntLists(IntLists { offsets, .. })
            | Self::TextLists(TextLists { offsets, .. }) => {
                Self::IntLists(IntLists { offsets, values: ids })
            }
        }
    }

    fn element_name(&self) -> &'static str {
        match self {
            Self::Floats(_) | Self::FloatLists(_) => "floats",
            Self::Ints(_) | Self::IntLists(_) => "ids",
            Self::Texts(_) | Self::TextLists(_) => "texts",
        }
    }
}

macro_rules! rows {
    ($($type:ident: $member:ty;)*) => {
        $(impl $type {
            /// No rows.
            pub fn new() -> Self {
                Self { offsets: vec![0], values: Vec::new() }
            }

            /// Number of rows.
            pub fn len(&self) -> usize {
                self.offsets.len() - 1
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The rows, in order.
            pub fn iter(&self) -> impl ExactSizeIterator<Item = &[$member]> {
                self.offsets.windows(2).map(|pair| &self.values[pair[0] as usize..pair[1] as usize])
            }

            /// Appends a row.
            pub fn push(&mut self, row: &[$member]) {
                self.values.extend_from_slice(row);
                self.offsets.push(self.values.len() as u32);
            }
        }

        impl Default for $type {
            fn default() -> Self {
                Self::new()
            }
        })*
    };
}

rows! {
    FloatLists: f32;
    IntLists: i64;
}
