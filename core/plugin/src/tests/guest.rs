//! Guests in WebAssembly text, put together from the few lines in which they differ.

use crate::Kind;

/// A guest of one kind that does nothing wrong, until its functions are replaced.
///
/// Memory: the description lies at 16, its texts at 64, results at 128, room for data from 512,
/// memory that is handed out from 4096.
#[derive(Clone)]
pub(super) struct Guest {
    kind: Kind,
    name: &'static str,
    contract: &'static str,
    configure: String,
    work: String,
    more: String,
    start: String,
    pages: u32,
}

/// An empty result, which is "ok" with empty lists.
const OK: &str = "(i32.const 128)";

impl Guest {
    pub(super) fn new(kind: Kind) -> Self {
        let configure = match kind {
            // The columns that come out are those that go in.
            Kind::Transform => {
                "(i32.store (i32.const 132) (local.get 2))
                 (i32.store (i32.const 136) (local.get 3)) (i32.const 128)"
            }
            _ => OK,
        };
        let (configure, work) = (configure.to_owned(), OK.to_owned());
        let (more, start) = (String::new(), String::new());
        Self { kind, name: "guest", contract: "1.0.0", configure, work, more, start, pages: 1 }
    }

    pub(super) fn name(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    pub(super) fn contract(mut self, version: &'static str) -> Self {
        self.contract = version;
        self
    }

    pub(super) fn configure(mut self, body: &str) -> Self {
        body.clone_into(&mut self.configure);
        self
    }

    /// The body of `apply`, `evaluate` or `sample`.
    pub(super) fn work(mut self, body: &str) -> Self {
        body.clone_into(&mut self.work);
        self
    }

    /// Run when it is instantiated.
    pub(super) fn start(mut self, body: &str) -> Self {
        body.clone_into(&mut self.start);
        self
    }

    pub(super) fn more(mut self, fields: &str) -> Self {
        self.more.push_str(fields);
        self
    }

    pub(super) fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    /// Words of memory at an address.
    pub(super) fn words(self, at: u32, words: &[u32]) -> Self {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.bytes(at, &bytes)
    }

    /// Bytes of memory at an address.
    pub(super) fn bytes(self, at: u32, bytes: &[u8]) -> Self {
        use std::fmt::Write;
        let mut escaped = String::new();
        for byte in bytes {
            write!(escaped, "\\{byte:02x}").unwrap();
        }
        self.more(&format!("(data (i32.const {at}) \"{escaped}\")\n"))
    }

    pub(super) fn text(&self) -> String {
        let Self { configure, work, more, start, pages, contract, .. } = self;
        let id = |interface: &str| format!("rectool:plugin/{interface}@{contract}");
        let (about, own) = (id("about"), id(self.kind.interface()));
        let functions = match self.kind {
            Kind::Transform => format!(
                r#"(func (export "{own}#configure") (param i32 i32 i32 i32) (result i32) {configure})
                   (func (export "{own}#apply") (param i32 i32 i32) (result i32) {work})"#
            ),
            Kind::Loss => format!(
                r#"(func (export "{own}#configure") (param i32 i32) (result i32) {configure})
                   (func (export "{own}#bind") (param i32 i32) (result i32) {OK})
                   (func (export "{own}#evaluate")
                     (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {work})"#
            ),
            Kind::Sampler => format!(
                r#"(func (export "{own}#configure")
                     (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {configure})
                   (func (export "{own}#sample") (param i32 i32 i32 i64) (result i32) {work})"#
            ),
        };
        let start = match start.as_str() {
            "" => String::new(),
            body => format!("(func $start {body}) (start $start)"),
        };
        let (name, length) = (self.name, self.name.len());
        format!(
            r#"(module
              (memory (export "memory") {pages})
              (data (i32.const 64) "1.0.0{name}")
              (global $free (mut i32) (i32.const 4096))
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                  (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.set $free (i32.add (local.get $at) (local.get 3)))
                (block $enough (loop $grow
                  (br_if $enough
                    (i32.le_u (global.get $free) (i32.shl (memory.size) (i32.const 16))))
                  (if (i32.eq (i32.const -1) (memory.grow (i32.const 1))) (then (unreachable)))
                  (br $grow)))
                (local.get $at))
              (func (export "{about}#describe") (result i32)
                (i32.store (i32.const 16) (i32.const 69)) (i32.store (i32.const 20) (i32.const {length}))
                (i32.store (i32.const 24) (i32.const 64)) (i32.store (i32.const 28) (i32.const 5))
                (i32.const 16))
              {functions} {start} {more})"#
        )
    }
}
