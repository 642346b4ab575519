use super::*;

type Owned = (u32, String, Timestamp, Vec<u8>);

fn time(second: i64) -> Timestamp {
    Timestamp::new(second, 5).expect("a time")
}

fn packed(files: &[Owned], bytes_max: usize) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut frames = Frames::new(3, bytes_max).expect("zstd");
    for (group, path, modified, content) in files {
        let head = FileHead { group: *group, path, modified: *modified };
        let sent: Result<(), PackError> = frames.add(head, content, |chunk| {
            chunks.push(chunk);
            Ok(())
        });
        sent.expect("they fit");
    }
    if !frames.is_empty() {
        chunks.push(frames.chunk().expect("zstd"));
    }
    chunks
}

fn unpacked(chunks: &[Vec<u8>]) -> Result<Vec<Owned>, String> {
    let mut files = Vec::new();
    let (mut unpacker, mut assembly) = (Unpacker::new().expect("zstd"), Assembly::default());
    for chunk in chunks {
        let frames = unpacker.unpack(chunk).map_err(|error| error.to_string())?;
        let added: Result<(), AssemblyError> = assembly.add(&frames, |WholeFile { head, content }| {
            files.push((head.group, head.path.to_owned(), head.modified, content.to_vec()));
            Ok(())
        });
        added.map_err(|error| error.to_string())?;
    }
    if assembly.is_whole() { Ok(files) } else { Err("a file is not whole".to_owned()) }
}

fn files() -> Vec<Owned> {
    let noise = |length: u32| {
        let bytes = (0..length).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[1]);
        bytes.collect::<Vec<u8>>()
    };
    vec![
        (0, "Pod/a.yaml".into(), time(1), b"kind: Pod\n".to_vec()),
        (1, "Pod/empty.yaml".into(), time(-62_135_596_800), Vec::new()),
        (1, "ä/\u{1f600}.yaml".into(), time(253_402_207_199), noise(1_500_000)),
        (u32::MAX, "x".repeat(PATH_BYTES_MAX), time(0), noise(70_000)),
    ]
}

#[test]
fn files_come_out_as_they_went_in_whatever_the_size_of_a_message() {
    for payload in [PAYLOAD_BYTES_MIN, 64 << 10, 1 << 20, 8 << 20] {
        let chunks = packed(&files(), frames_bytes_max(payload).expect("large enough"));
        assert!(chunks.iter().all(|chunk| chunk.len() < payload && lane(chunk) == Some(3)));
        assert_eq!(unpacked(&chunks).expect("whole"), files());
    }
    assert_eq!(frames_bytes_max(PAYLOAD_BYTES_MIN - 1), None);
}

#[test]
fn what_is_too_long_is_refused_by_name() {
    let mut frames = Frames::new(0, FRAMES_BYTES_MAX).expect("zstd");
    let path = "p".repeat(PATH_BYTES_MAX + 1);
    let head = FileHead { group: 0, path: &path, modified: time(0) };
    let refused: Result<(), PackError> = frames.add(head, b"", |_| Ok(()));
    assert!(refused.expect_err("too long").to_string().contains("4097 bytes"));
    let long = vec![0; usize::try_from(FILE_BYTES_MAX).expect("fits") + 1];
    let head = FileHead { group: 0, path: "big.yaml", modified: time(0) };
    let refused: Result<(), PackError> = frames.add(head, &long, |_| Ok(()));
    assert!(refused.expect_err("too long").to_string().starts_with("big.yaml has"));
    assert!(frames.is_empty());
}

#[test]
fn a_missing_doubled_or_swapped_chunk_never_gives_other_files() {
    let chunks = packed(&files(), 16 << 10);
    let whole = files();
    let no_others = |chunks: &[Vec<u8>]| match unpacked(chunks) {
        Err(_) => {}
        Ok(files) => assert!(files.iter().all(|file| whole.contains(file))),
    };
    for position in 1..chunks.len() {
        let mut other = chunks.clone();
        other.remove(position);
        no_others(&other);
        // Within one file's parts only the stream's numbers tell that two were swapped or one came twice with another left out:
        // seal.rs refuses those. The length tells the rest.
        let mut other = chunks.clone();
        other.insert(position, chunks[position].clone());
        assert!(unpacked(&other).is_err() || unpacked(&other).is_ok_and(|files| files.len() >= whole.len()));
    }
}

#[test]
fn damaged_frames_are_an_error_and_take_no_memory() {
    let chunk = packed(&files()[..2], FRAMES_BYTES_MAX).remove(0);
    let frames = Unpacker::new().expect("zstd").unpack(&chunk).expect("whole");
    for position in 0..frames.len() {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = frames.clone();
            damaged[position] ^= flip;
            let mut assembly = Assembly::default();
            let _: Result<(), AssemblyError> = assembly.add(&damaged, |file| {
                assert!(file.content.len() <= frames.len());
                Ok(())
            });
        }
        let cut: Result<(), AssemblyError> = Assembly::default().add(&frames[..position], |_| Ok(()));
        let boundaries = [0, FILE_HEAD_BYTES + "Pod/a.yaml".len() + 10];
        assert_eq!(cut.is_ok(), boundaries.contains(&position), "cut at {position}");
    }
    for position in 0..chunk.len() {
        let mut damaged = chunk.clone();
        damaged[position] ^= 0x55;
        let _ = Unpacker::new().expect("zstd").unpack(&damaged);
    }
}

#[test]
fn a_bomb_is_refused_by_the_length_that_it_claims() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).expect("zstd");
    let claims = |length: u32| [&[0][..], &length.to_be_bytes(), &bomb].concat();
    for length in [u32::MAX, 64 << 20, 256 << 10] {
        assert!(Unpacker::new().expect("zstd").unpack(&claims(length)).is_err());
    }
}
