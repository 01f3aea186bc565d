//! The report about this library and this machine.

use llama_core::Device;
use llama_core::device::{BackendReg, DeviceKind, SystemReport, backend_regs, devices, max_devices};

#[test]
fn versions_are_those_of_the_library() {
    let report = SystemReport::new();
    assert_eq!(report.llama_core, env!("CARGO_PKG_VERSION"));
    assert_eq!(report.llama_cpp, llama_core::version());
    assert_eq!(report.llama_cpp.split('.').count(), 3);
    assert!(report.ggml.split('.').count() >= 3 && !report.ggml_commit.is_empty(), "{report}");
    assert_eq!(report.target, format!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    assert_eq!(report.debug, cfg!(debug_assertions));
    assert_eq!((report.max_devices, max_devices()), (16, 16));
    assert!(report.processors >= 1);
    assert_eq!(report.features.contains(&"openmp"), cfg!(feature = "openmp"));
    assert_eq!(report.features.contains(&"cuda"), cfg!(feature = "cuda"));
    assert_eq!(without_free_memory(report), without_free_memory(SystemReport::default()));
}

/// Removes the figures that other processes change between two reports.
fn without_free_memory(mut report: SystemReport) -> SystemReport {
    for device in report.backends.iter_mut().flat_map(|backend| &mut backend.devices) {
        device.memory.free = 0;
    }
    report
}

#[test]
fn the_cpu_is_a_backend_with_features_and_a_device() {
    let report = SystemReport::new();
    let cpu = report.backends.iter().find(|backend| backend.name == "CPU").unwrap();
    let has = |name: &str| cpu.features.iter().any(|feature| feature.name == name && feature.value == "1");
    #[cfg(target_arch = "x86_64")]
    for (name, found) in [
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("AVX512", std::arch::is_x86_feature_detected!("avx512f")),
    ] {
        // What was not compiled in is not there.
        assert!(found || !has(name), "{name}");
    }
    assert_eq!(has("OPENMP"), cfg!(feature = "openmp"));
    let [device] = cpu.devices.as_slice() else { panic!("{report}") };
    assert_eq!((device.name.as_str(), device.kind, device.id.as_deref()), ("CPU", DeviceKind::Cpu, None));
    assert!(device.memory.free > 1 << 20 && device.memory.free <= device.memory.total);
    assert!(
        device.capabilities.mmap && device.capabilities.buffer_from_host_ptr && !device.capabilities.events
    );
    assert_eq!(report.devices().count(), devices().len());
}

#[test]
fn the_report_reads_well() {
    let report = SystemReport::new();
    let text = report.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with(&format!("llama-core {} on {}", report.llama_core, report.target)),
        "{text}"
    );
    assert!(
        lines[1].starts_with(&format!("llama.cpp {}, ggml {} (", report.llama_cpp, report.ggml)),
        "{text}"
    );
    assert!(lines[2].starts_with("built with: "), "{text}");
    assert_eq!(lines[3].starts_with("supports: mmap, mlock"), cfg!(unix), "{text}");
    assert_eq!(lines[4], format!("processors: {}", report.processors));
    assert!(lines.iter().any(|line| line.starts_with("backend CPU: ")), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("  CPU: ") && line.ends_with(" free")), "{text}");
    assert!(!text.ends_with('\n') && !text.contains("=1"), "{text}");
}

#[test]
fn backends_and_devices_find_each_other() {
    let all = backend_regs();
    assert!(!all.is_empty());
    for backend in &all {
        assert_eq!(BackendReg::by_name(&backend.name()), Some(*backend));
        for device in backend.devices() {
            assert_eq!(device.backend_reg(), Some(*backend));
            assert_eq!(Device::by_name(&device.name()), Some(device));
            assert!(devices().contains(&device));
        }
    }
    assert_eq!(Device::cpu().map(|cpu| cpu.name()).as_deref(), Some("CPU"));
    assert_eq!(format!("{:?}", BackendReg::by_name("CPU").unwrap()).split(' ').next(), Some("BackendReg"));
}

#[test]
fn names_of_nothing_find_nothing() {
    for name in ["", "no such", "CPU\0", "%s%n", "\u{1f980}"] {
        assert_eq!(Device::by_name(name), None, "{name:?}");
        assert_eq!(BackendReg::by_name(name), None, "{name:?}");
    }
    let long = "x".repeat(1 << 20);
    assert_eq!((Device::by_name(&long), BackendReg::by_name(&long)), (None, None));
}

#[cfg(feature = "serde")]
#[test]
fn reports_and_plans_can_be_serialised() {
    let report = SystemReport::new();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["llama_cpp"], llama_core::version());
    let cpu = json["backends"].as_array().unwrap().iter().find(|backend| backend["name"] == "CPU").unwrap();
    assert_eq!(cpu["devices"][0]["kind"], "Cpu");
    assert_eq!(cpu["devices"][0]["memory"]["total"], report.devices().last().unwrap().memory.total);
    let (model, context) =
        (llama_core::ModelParams::default(), llama_core::ContextParams::default().n_ctx(256));
    let plan = llama_core::Model::plan(test_models::Tiny::Llama.path(), &model, &context).unwrap();
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["devices"][0]["device"], "CPU");
    assert_eq!(json["devices"][0]["weights"], plan.weights());
}
