//! Feature `dynamic`: a library that cannot be used is refused with every reason, one that can is loaded, and its functions
//! are not mixed up with this program's. `LLAMA_LIBRARY` must name a shared build of the pinned llama.cpp.

#![cfg(feature = "dynamic")]
#![allow(clippy::print_stdout, reason = "a child tells its parent the error")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use llama_sys::LLAMA_CPP_VERSION;
use llama_sys::dynamic::{self, Fault, LoadError, VARIABLE};
use test_models::child;

/// Tells a child of this program to run the body of its test.
const CHILD: &str = "LLAMA_SYS_DYNAMIC_CHILD";

const FILE: &str = if cfg!(windows) {
    "llama.dll"
} else if cfg!(target_vendor = "apple") {
    "libllama.dylib"
} else {
    "libllama.so"
};

fn load(path: &Path) -> Result<(), LoadError> {
    // SAFETY: the libraries of these tests are harmless, and no other thread calls llama.cpp.
    unsafe { dynamic::load(Some(path)) }
}

/// Compiles a library with a function that returns its version, and with these empty functions.
fn made_up(folder: &Path, version: &str, functions: &[&str]) -> PathBuf {
    let mut code = format!(
        "#[unsafe(no_mangle)] pub extern \"C\" fn llama_version() -> *const std::ffi::c_char {{ c\"{version}\".as_ptr() }}\n"
    );
    for function in functions {
        code += &format!("#[unsafe(no_mangle)] pub extern \"C\" fn {function}() {{}}\n");
    }
    let (source, library) = (folder.join("library.rs"), folder.join(FILE));
    fs::write(&source, code).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-type=cdylib", "--crate-name=made_up", "-Cpanic=abort", "-o"]);
    let output = rustc.arg(&library).arg(&source).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// Runs a test of this file in a child with this value of the variable.
fn in_child(test: &str, library: &Path) -> Output {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([test, "--exact", "--nocapture"]).env(CHILD, "1").env(VARIABLE, library);
    child.output().unwrap()
}

fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

#[test]
fn a_missing_file_is_named_with_the_way_out() {
    let path = env::temp_dir().join("no such folder").join(FILE);
    let error = load(&path).unwrap_err();
    let [attempt] = error.attempts.as_slice() else { panic!("{error}") };
    assert_eq!(attempt.path, path);
    let [Fault::CannotOpen { reason }] = attempt.faults.as_slice() else { panic!("{error}") };
    assert_eq!(
        error.to_string(),
        format!(
            "llama.cpp's library cannot be loaded: {} cannot be opened ({reason}). Name the file or folder of a libllama \
             {LLAMA_CPP_VERSION} by the variable LLAMA_LIBRARY or when loading it, or put it beside the executable",
            path.display()
        )
    );
}

#[test]
fn all_files_that_were_tried_in_a_folder_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), "no library").unwrap();
    let error = load(folder.path()).unwrap_err();
    assert_eq!(error.attempts.len(), 2, "{error}");
    assert_eq!(error.attempts[0].path, folder.path().join(FILE));
    assert!(error.attempts.iter().all(|it| matches!(it.faults[..], [Fault::CannotOpen { .. }])), "{error}");
    assert_eq!(error.to_string().matches(" cannot be opened (").count(), 2, "{error}");
}

#[test]
fn another_version_and_all_missing_functions_are_one_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = made_up(folder.path(), "0.0.1", &["llama_decode"]);
    let error = load(&path).unwrap_err();
    let [Fault::OtherVersion { version }, Fault::LacksFunctions { names }] =
        error.attempts[0].faults.as_slice()
    else {
        panic!("{error}")
    };
    assert_eq!(version, "0.0.1");
    for name in ["llama_encode", "ggml_abort", "ggml_backend_dev_count", "gguf_free", "ggml_opt_fit"] {
        assert!(names.iter().any(|it| it == name), "{name}");
    }
    assert!(!names.iter().any(|name| name == "llama_decode" || name == "llama_version"));
    let text = error.to_string();
    let lines = format!(
        "{0} has version 0.0.1, but must have {LLAMA_CPP_VERSION}; {0} lacks {1} functions: llama_",
        path.display(),
        names.len()
    );
    assert!(text.contains(&lines), "{text}");
}

#[test]
fn a_library_of_the_right_version_must_have_all_functions() {
    let folder = tempfile::tempdir().unwrap();
    let path = made_up(folder.path(), &format!("{LLAMA_CPP_VERSION}-dev"), &[]);
    let error = load(&path).unwrap_err();
    assert!(matches!(&error.attempts[0].faults[..], [Fault::LacksFunctions { .. }]), "{error}");
}

#[test]
fn the_variable_is_used_without_a_path_and_tried_once() {
    if is_child() {
        // SAFETY: as in `load`.
        let (first, second) = unsafe { (dynamic::load(None), dynamic::load(None)) };
        assert_eq!(first, second);
        println!("error: {}", first.unwrap_err());
        return;
    }
    let path = env::temp_dir().join("not here").join(FILE);
    let output = in_child("the_variable_is_used_without_a_path_and_tried_once", &path);
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = format!("error: llama.cpp's library cannot be loaded: {} cannot be", path.display());
    assert!(output.status.success() && text.contains(&expected), "{text}");
}

#[test]
fn without_path_and_variable_the_library_is_looked_for_beside_the_executable() {
    if is_child() {
        // SAFETY: as in `load`.
        println!("error: {}", unsafe { dynamic::load(None) }.unwrap_err());
        return;
    }
    let output =
        in_child("without_path_and_variable_the_library_is_looked_for_beside_the_executable", Path::new(""));
    let text = String::from_utf8_lossy(&output.stdout);
    let folder = env::current_exe().unwrap();
    let expected = format!("cannot be loaded: {} cannot be", folder.with_file_name(FILE).display());
    assert!(output.status.success() && text.contains(&expected), "{text}");
}

#[test]
fn a_function_that_is_called_before_loading_ends_the_process_with_a_message() {
    if is_child() {
        // SAFETY: takes no arguments.
        unsafe { llama_sys::llama_max_devices() };
        return;
    }
    let output = in_child(
        "a_function_that_is_called_before_loading_ends_the_process_with_a_message",
        Path::new("not used"),
    );
    let text = String::from_utf8_lossy(&output.stderr);
    let expected = "llama-sys: a function of llama.cpp was called before its library was loaded: call \
                    llama_sys::dynamic::load first";
    assert!(!output.status.success() && text.contains(expected), "{text}");
}

#[test]
fn a_library_is_loaded_once_and_no_other_afterwards() {
    child::alone(module_path!(), "a_library_is_loaded_once_and_no_other_afterwards", || {
        assert_eq!(dynamic::loaded(), None);
        // A failure with a path does not count.
        load(Path::new("no such file")).unwrap_err();
        // SAFETY: as in `load`.
        unsafe { dynamic::load(None) }.unwrap();
        let loaded = dynamic::loaded().unwrap();
        load(&loaded).unwrap();
        load(loaded.parent().unwrap()).unwrap();
        let error = load(Path::new("another")).unwrap_err();
        let expected = format!(
            "llama.cpp's library cannot be loaded: another is not the library that was loaded before, {}",
            loaded.display()
        );
        assert_eq!(error.to_string(), expected);
        // SAFETY: takes no arguments; returns a literal.
        let version = unsafe { core::ffi::CStr::from_ptr(llama_sys::llama_version()) };
        assert_eq!(version.to_str().unwrap().split('-').next(), Some(LLAMA_CPP_VERSION));
    });
}

/// A function with any number of arguments is formatted before it reaches the library.
#[test]
fn functions_with_any_number_of_arguments_are_forwarded() {
    child::alone(module_path!(), "functions_with_any_number_of_arguments_are_forwarded", || {
        // SAFETY: the library is loaded before it is called; the formats fit the arguments; the context has room.
        let name = unsafe {
            dynamic::load(None).unwrap();
            let params = llama_sys::ggml_init_params {
                mem_size: 4096,
                mem_buffer: core::ptr::null_mut(),
                no_alloc: true,
            };
            let context = llama_sys::ggml_init(params);
            let tensor = llama_sys::ggml_new_tensor_1d(context, llama_sys::ggml_type::GGML_TYPE_F32, 1);
            llama_sys::ggml_format_name(tensor, c"%s-%d".as_ptr(), c"layer".as_ptr(), 7_i32);
            let name = core::ffi::CStr::from_ptr(llama_sys::ggml_get_name(tensor)).to_owned();
            llama_sys::ggml_free(context);
            name
        };
        assert_eq!(name.to_str(), Ok("layer-7"));
    });
}

/// The library must call its own functions and not those of this program, which have the same names. The build script
/// exports this program's symbols, as `-rdynamic` does.
#[cfg(target_os = "linux")]
#[test]
fn the_forwarding_functions_are_hidden_from_the_library() {
    #[unsafe(no_mangle)]
    extern "C" fn llama_sys_test_of_exported_symbols() {}

    child::alone(module_path!(), "the_forwarding_functions_are_hidden_from_the_library", || {
        std::hint::black_box(llama_sys_test_of_exported_symbols as extern "C" fn());
        // SAFETY: as in `load`.
        unsafe { dynamic::load(None) }.unwrap();
        let program = libloading::os::unix::Library::this();
        let is_visible = |name: &str| {
            // SAFETY: only the presence of the symbol is asked for.
            unsafe { program.get::<*const ()>(name.as_bytes()) }.is_ok()
        };
        assert!(is_visible("llama_sys_test_of_exported_symbols"), "this program exports nothing");
        for name in ["llama_decode", "ggml_abort", "gguf_free", "ggml_backend_graph_compute"] {
            assert!(!is_visible(name), "{name}");
        }
    });
}
