//! Writes the seeds of a target into a folder: `seeds TARGET FOLDER`.

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, folder] = &arguments[..] else {
        return Err(std::io::Error::other("usage: seeds TARGET FOLDER"));
    };
    for (n, seed) in repository::fuzzing::seeds(target).into_iter().enumerate() {
        std::fs::write(std::path::Path::new(folder).join(format!("seed-{n}")), seed)?;
    }
    Ok(())
}
