//! Compiles the schemas in `proto/` with protox: no protoc is needed.

use std::io::Error;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir("proto")? {
        let path = entry?.path();
        println!("cargo::rerun-if-changed={}", path.display());
        if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    println!("cargo::rerun-if-changed=proto");
    files.sort();
    let set = protox::compile(&files, ["proto"]).map_err(|e| Error::other(format!("{e:?}")))?;
    let mut config = prost_build::Config::new();
    config.btree_map(["."]);
    config.compile_fds(set)?;
    Ok(())
}
