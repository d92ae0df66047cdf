//! Files on disk, named by the SHA-256 of their bytes. What the engine knows as [`model::Blobs`].
//!
//! A file lies in one of 256 directories named by the first two digits of its hash. It is written beside them under a passing name, brought to disk and renamed,
//! so a file that is there is whole, also after a power cut; what a crash leaves behind under a passing name is removed at the next start. Whether a file may go
//! is decided by the engine; nothing here looks at the database. All work runs on tokio's threads for blocking calls.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use model::{Blobs, BoxFuture};

/// Where unfinished files lie.
const UNFINISHED: &str = "unfinished";
/// Digits of a SHA-256 in hex.
const HASH_LEN: usize = 64;

/// A directory of files. Several processes may share it.
#[derive(Clone)]
pub struct DiskBlobs(Arc<Disk>);

struct Disk {
    directory: PathBuf,
    /// Makes passing names differ within this process; its id keeps processes apart.
    next: AtomicU64,
}

impl DiskBlobs {
    /// Opens the directory, which is made when it is not there, closed to other users. Blocks shortly: for the program's start.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        let unfinished = directory.join(UNFINISHED);
        make_private(&unfinished)?;
        for entry in fs::read_dir(&unfinished)? {
            let path = entry?.path();
            if is_left_behind(&path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(Self(Arc::new(Disk { directory, next: AtomicU64::new(0) })))
    }
}

impl Blobs for DiskBlobs {
    fn put(&self, sha256: &str, bytes: Bytes) -> BoxFuture<'static, io::Result<()>> {
        let (disk, sha256) = (Arc::clone(&self.0), sha256.to_owned());
        blocking(move || disk.put(&sha256, &bytes))
    }

    fn get(&self, sha256: &str) -> BoxFuture<'static, io::Result<Bytes>> {
        let (disk, sha256) = (Arc::clone(&self.0), sha256.to_owned());
        blocking(move || fs::read(disk.path(&sha256)?).map(Bytes::from))
    }

    fn remove(&self, sha256: &str) -> BoxFuture<'static, io::Result<()>> {
        let (disk, sha256) = (Arc::clone(&self.0), sha256.to_owned());
        blocking(move || match fs::remove_file(disk.path(&sha256)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        })
    }
}

impl Disk {
    /// Where a file lies. Refuses what is no hash, so that no name can lead out of the directory.
    fn path(&self, sha256: &str) -> io::Result<PathBuf> {
        let is_hash = sha256.len() == HASH_LEN && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hash {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file is named by a SHA-256 in lower-case hex"));
        }
        Ok(self.directory.join(&sha256[..2]).join(sha256))
    }

    fn put(&self, sha256: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(sha256)?;
        if path.try_exists()? {
            return Ok(());
        }
        let shelf = path.parent().expect("a file lies in a directory of its two first digits");
        if !shelf.try_exists()? {
            make_private(shelf)?;
            File::open(&self.directory)?.sync_all()?;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let passing = self.directory.join(UNFINISHED).join(format!("{}-{number}", std::process::id()));
        let written = write_durably(&passing, bytes).and_then(|()| fs::rename(&passing, &path));
        if let Err(error) = written {
            let _ = fs::remove_file(&passing);
            return Err(error);
        }
        File::open(shelf)?.sync_all()
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn make_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// True for a passing name of a process that no longer runs, or of an earlier one with our number.
fn is_left_behind(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(process) = name.split('-').next().and_then(|text| text.parse::<u32>().ok()) else { return false };
    process == std::process::id() || !Path::new("/proc").join(process.to_string()).exists()
}

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> BoxFuture<'static, io::Result<T>> {
    Box::pin(async move { tokio::task::spawn_blocking(work).await.map_err(io::Error::other)? })
}
