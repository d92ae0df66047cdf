//! Temporary directories.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// Bytes that tests at once may need in memory.
const ROOM: u64 = 1 << 30;

/// A temporary directory that is removed when dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes an empty one.
    #[allow(clippy::new_without_default, reason = "it touches the disk")]
    pub fn new() -> Self {
        Self::under(&std::env::temp_dir())
    }

    /// Makes an empty one in memory, where the system has such a place with [`ROOM`] left (containers often have 64 MiB): for what is written often and never has to last.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let room = rustix::fs::statvfs(memory).map_or(0, |system| system.f_bavail.saturating_mul(system.f_frsize));
        if room >= ROOM { Self::under(memory) } else { Self::new() }
    }

    fn under(parent: &Path) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("tidings-test-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left behind by a killed process that had our number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot create {}: {error}", path.display()),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
