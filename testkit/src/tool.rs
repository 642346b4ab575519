//! Where the real programs are.
//!
//! Looked for in this order: `KUBEBUILDER_ASSETS` (the ecosystem's convention for etcd, kube-apiserver and kubectl), the
//! tools folder that `make tools` fills, `PATH`. The tools folder comes before `PATH` because its versions are pinned.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A program that no folder has.
#[derive(Debug, thiserror::Error)]
#[error("{program} is neither in KUBEBUILDER_ASSETS, nor in {}, nor on PATH: run `make tools`", .tools.display())]
pub struct MissingTool {
    program: String,
    tools: PathBuf,
}

/// The path of a real program, for example `kube-apiserver`, `etcd`, `kubectl`, `restic` or `restic-0.13`.
///
/// # Panics
/// When no folder has the program; the message says to run `make tools`. A test does not skip for lack of a program.
#[track_caller]
pub fn tool(program: &str) -> PathBuf {
    find_tool(program).unwrap_or_else(|missing| panic!("{missing}"))
}

/// As [`tool`], for callers that report the error themselves.
///
/// # Errors
/// [`MissingTool`] when no folder has an executable file of that name.
pub fn find_tool(program: &str) -> Result<PathBuf, MissingTool> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = assets.into_iter().chain([tools_folder()]).chain(env::split_paths(&path));
    first_executable(program, folders).ok_or_else(|| MissingTool { program: program.to_owned(), tools: tools_folder() })
}

/// The folder that `make tools` fills: `STOWAGE_TOOLS`, else `stowage/tools` in the user's cache folder.
pub fn tools_folder() -> PathBuf {
    if let Some(folder) = env::var_os("STOWAGE_TOOLS") {
        return folder.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"));
    cache.join("stowage/tools")
}

fn first_executable(program: &str, folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.map(|folder| folder.join(program)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_folders_win_and_plain_files_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let [plain, first, second] = ["plain", "first", "second"].map(|name| folder.path().join(name));
        for (path, mode) in [(&plain, 0o644), (&first, 0o755), (&second, 0o755)] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("etcd"), "").unwrap();
            std::fs::set_permissions(path.join("etcd"), PermissionsExt::from_mode(mode)).unwrap();
        }
        let found = first_executable("etcd", [plain, first.clone(), second].into_iter());
        assert_eq!(found, Some(first.join("etcd")));
    }

    #[test]
    fn a_missing_program_says_to_run_make_tools() {
        let missing = find_tool("no-such-program").unwrap_err().to_string();
        assert!(missing.starts_with("no-such-program is neither in") && missing.ends_with("run `make tools`"));
    }
}
