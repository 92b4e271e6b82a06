//! What is known of the machine and of what was built.

use std::collections::BTreeMap;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::kernels::bench::Bench;

/// Packages whose version a time may depend on.
const PACKAGES: [&str; 6] = ["burn-vlm", "burn", "burn-flex", "cubecl", "wgpu", "cudarc"];

/// Name and fact.
#[derive(Debug, Default)]
pub(crate) struct Facts(Vec<(&'static str, String)>);

impl Facts {
    pub(crate) fn fold<B: VlmBackend>(self, bench: Bench<B>) -> Bench<B> {
        let facts = self.0.into_iter();
        facts.fold(bench, |bench, (name, fact)| bench.with_fact(name, fact))
    }
}

/// As the lock file has them.
pub(crate) fn versions() -> BTreeMap<String, String> {
    let lock = include_str!("../../Cargo.lock");
    let packages = lock.split("[[package]]").filter_map(|package| {
        let field = |name| {
            let mut lines = package.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.map(|value| value.trim_matches('"').to_string())
        };
        Some((field("name")?, field("version")?))
    });
    let mut versions: BTreeMap<_, _> = packages
        .filter(|(name, _)| PACKAGES.contains(&name.as_str()))
        .collect();
    versions.insert("system".to_string(), std::env::consts::OS.to_string());
    versions
}

#[cfg(feature = "flex")]
pub(crate) fn cpu() -> Facts {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut facts = vec![("threads", threads.to_string())];
    let model = line_of("/proc/cpuinfo", "model name");
    let model = model.as_deref().and_then(|line| line.split(": ").nth(1));
    facts.extend(model.map(|model| ("processor", model.to_string())));
    Facts(facts)
}

/// What `wgpu` says of the adapter that it prefers.
#[cfg(feature = "wgpu")]
pub(crate) fn wgpu() -> Facts {
    use cubecl::wgpu::{AutoGraphicsApi, GraphicsApi};

    let api = AutoGraphicsApi::backend();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: api.into(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    let adapter = cubecl::future::block_on(instance.request_adapter(&options));
    let Ok(info) = adapter.map(|adapter| adapter.get_info()) else {
        return Facts::default();
    };
    Facts(vec![
        ("adapter", info.name),
        ("api", api.to_string()),
        ("driver", format!("{} {}", info.driver, info.driver_info)),
    ])
}

#[cfg(feature = "cuda")]
pub(crate) fn cuda() -> Facts {
    let name = cudarc::driver::CudaContext::new(0).and_then(|device| device.name());
    let mut facts: Vec<_> = name
        .ok()
        .map(|name| ("adapter", name))
        .into_iter()
        .collect();
    let driver = line_of("/proc/driver/nvidia/version", "NVRM");
    facts.extend(driver.map(|line| ("driver", line)));
    Facts(facts)
}

/// The first line of a file that begins so.
#[cfg(any(feature = "flex", feature = "cuda"))]
fn line_of(path: &str, start: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    lines
        .find(|line| line.starts_with(start))
        .map(str::to_string)
}
