//! Waiting for what was queued, and hearing of what failed.

use super::VlmBackend;

/// Waits until the device has done everything that was queued.
///
/// # Errors
/// What the backend reports of work that failed.
pub fn sync<B: VlmBackend>(device: &B::Device) -> Result<(), String> {
    #[cfg(feature = "testing")]
    super::fault::check()?;
    B::sync(device).map_err(|error| error.to_string())
}
