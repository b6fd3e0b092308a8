//! The engine's settings: deterministic, interruptible, nothing that plugins do not need.

use wasmtime::component::{Linker, WasmList};
use wasmtime::{Config, Engine, StoreContextMut};

use crate::componentize::LOG;
use crate::error::PluginError;
use crate::fault::FRAMES_MAX;
use crate::limits::{Limits, TEXT_CHARS_MAX};
use crate::store::State;

/// Instances come from plain memory mappings: each reserves 4 GiB of addresses, not of memory, so
/// that loads and stores need no bounds checks, and gives its memory back when it is dropped. The
/// pooling allocator would reserve all of them up front and gain nothing, as instances are kept.
fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(limits.stack_bytes_max)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(FRAMES_MAX))
        // Same bytes on every machine: no instruction whose result is the machine's. What is left is
        // the sign and payload of a NaN that arithmetic makes: results get the one NaN when they
        // come back (`columns`). Having every operation make it, as the compiler can, doubles the
        // time of log1p (9.5 to 19.5 ns per value) and BCE (17 to 35 ns per row), and only serves
        // guests that look at the bits of their own NaNs.
        .cranelift_nan_canonicalization(false)
        .wasm_relaxed_simd(false)
        // Compilers do not emit this unasked.
        .wasm_memory64(false)
        // Components whose parts call each other (JavaScript's, Python's) are joined by adapters
        // that wasmtime writes with several memories: without them it panics.
        .wasm_multi_memory(true);
    config
}

/// An engine, and the linker, which offers what the WASI adapter needs and nothing else.
pub(crate) fn engine(limits: &Limits) -> Result<(Engine, Linker<State>), PluginError> {
    let failed = |error| PluginError::Engine { message: format!("{error:#}") };
    let engine = Engine::new(&config(limits)).map_err(failed)?;
    let mut linker = Linker::new(&engine);
    let mut log = linker.instance(LOG).map_err(failed)?;
    log.func_wrap("write", |store, (text,)| {
        write(store, &text);
        Ok(())
    })
    .map_err(failed)?;
    Ok((engine, linker))
}

/// Keeps the beginning of what a guest writes in a call.
fn write(mut store: StoreContextMut<'_, State>, text: &WasmList<u8>) {
    let room = TEXT_CHARS_MAX.saturating_sub(store.data().said.len());
    let text = text.as_le_slice(&store);
    let text = text[..text.len().min(room)].to_vec();
    store.data_mut().said.extend(text);
}
