//! Writes the seeds of a target into a folder: `seeds TARGET FOLDER`.

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, folder] = &arguments[..] else {
        return Err(std::io::Error::other("usage: seeds TARGET FOLDER"));
    };
    let seeds = [repository::fuzzing::seeds(target), stowage_fuzz::seeds(target)].concat();
    if seeds.is_empty() {
        return Err(std::io::Error::other(format!("{target} has no seeds")));
    }
    for (n, seed) in seeds.into_iter().enumerate() {
        std::fs::write(std::path::Path::new(folder).join(format!("seed-{n}")), seed)?;
    }
    Ok(())
}
