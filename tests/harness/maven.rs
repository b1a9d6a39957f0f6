//! Servers that come as jars by Maven, and the ports they must know before they start.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A jar: its group, name and version.
pub type Jar<'a> = (&'a str, &'a str, &'a str);

/// Fetches jars and all that they need into a folder beside the build's output, which has its name only when all is there.
///
/// Errors: what Maven says first.
pub fn fetch(name: &str, jars: &[Jar<'_>]) -> Result<PathBuf, String> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (done, fresh) = (
        cache.join("jars"),
        cache.join(format!("fetched-{}", std::process::id())),
    );
    if done.exists() {
        return Ok(done);
    }
    std::fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
    let pom = cache.join("pom.xml");
    std::fs::write(&pom, project(jars)).map_err(|error| error.to_string())?;
    let maven = Command::new("timeout")
        .args(["300", "mvn", "--batch-mode", "--quiet", "--file"])
        .arg(&pom)
        .arg(format!("-Dmaven.repo.local={}", cache.join("repository").display()))
        .arg("org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", fresh.display()))
        .arg("-DincludeScope=runtime")
        .output()
        .map_err(|error| error.to_string())?;
    if !maven.status.success() {
        let said = String::from_utf8_lossy(&maven.stdout);
        return Err(said.lines().next().unwrap_or("it says nothing").to_owned());
    }
    let _ = std::fs::remove_dir_all(cache.join("repository"));
    std::fs::rename(&fresh, &done).map_err(|error| error.to_string())?;
    Ok(done)
}

fn project(jars: &[Jar<'_>]) -> String {
    let dependency = |(group, name, version): &Jar<'_>| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        )
    };
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>tests</groupId><artifactId>tests</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies>{}</dependencies></project>",
        jars.iter().map(dependency).collect::<String>(),
    )
}

/// Ports that the kernel has free.
pub fn ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}
