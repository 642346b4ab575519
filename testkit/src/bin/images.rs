//! Assembles the images of Stowage from programs that are built already. See `images --help`; `make images-local` calls it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to its user")]

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::Parser;
use testkit::{
    find_tool,
    image::{CERTIFICATES, Image, NONROOT},
};

/// NATS, as `k8s/base/nats` names it.
const NATS: &str = "docker.io/library/nats:2.15.2";

/// Makes one archive for each image, which `docker load` and `ctr images import` take. No registry and no daemon is needed.
#[derive(Debug, Parser)]
#[command(name = "images")]
struct Args {
    /// File with the names of the images, each the name of its program too.
    #[arg(long, default_value = "images/list")]
    list: PathBuf,
    /// Folder with the programs. Those that are not there are left out.
    #[arg(long)]
    programs: PathBuf,
    /// Folder for the archives, `<name>.tar`.
    #[arg(long)]
    out: PathBuf,
    /// What stands before the name in an image's reference.
    #[arg(long, default_value = "stowage.local")]
    registry: String,
    /// Tag of the images, and the version in their labels.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    version: String,
    /// Make an image of the nats-server of `make tools` too, under the name that the manifests have: for a node without a registry.
    #[arg(long)]
    nats: bool,
    /// Commit that the programs are built from.
    #[arg(long, default_value = "unknown")]
    revision: String,
}

fn main() -> ExitCode {
    match Args::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("images: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

impl Args {
    fn run(&self) -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(&self.out)?;
        let list = fs::read_to_string(&self.list)?;
        for name in list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let program = self.programs.join(name);
            if !program.exists() {
                eprintln!("images: {name} is left out, {} is not there", program.display());
                continue;
            }
            self.assemble(name, &program)?;
        }
        if self.nats {
            let image = Image::new(NATS).program(&find_tool("nats-server")?, "/nats-server")?.user(NONROOT);
            image.save(&self.out.join("nats.tar"))?;
        }
        Ok(())
    }

    fn assemble(&self, name: &str, program: &Path) -> Result<(), Box<dyn Error>> {
        let stripped = self.out.join(format!("{name}.stripped"));
        strip(program, &stripped)?;
        let path = format!("/bin/{name}");
        let image = Image::new(&format!("{}/{name}:{}", self.registry, self.version))
            .program(&stripped, &path)?
            .file(Path::new(CERTIFICATES), CERTIFICATES)?
            .entrypoint(&[&path])
            .user(NONROOT)
            .label("org.opencontainers.image.title", name)
            .label("org.opencontainers.image.version", &self.version)
            .label("org.opencontainers.image.revision", &self.revision)
            .label("org.opencontainers.image.licenses", env!("CARGO_PKG_LICENSE"));
        let size = image.save(&self.out.join(format!("{name}.tar")))?;
        fs::remove_file(stripped)?;
        println!("{} {:.1} MiB", image.reference(), size as f64 / f64::from(1 << 20));
        Ok(())
    }
}

/// Debug information is most of a program, and nobody debugs in an image without a shell.
fn strip(program: &Path, stripped: &Path) -> io::Result<()> {
    let status = Command::new("strip").arg("-o").arg(stripped).arg(program).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("strip ended with {status}"))) }
}

fn chain(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", chain(cause)))
}
