//! Decides which packs stay, which go, and which are copied. Pure.
//!
//! 1. **Of each needed blob one copy stays.** Packs claim the needed blobs in them one after another, those with the least waste
//!    first; whatever was claimed before counts as waste in a later pack.
//! 2. **A pack that is not what its index says claims nothing**: its size must be that of its blobs and its header. A needed blob that
//!    nobody claims is lost, and the caller refuses.
//! 3. **Packs without a claim go**, and so do packs that no index names.
//! 4. **Always copied**: packs with data and trees mixed, trees stored plain where the format compresses, and packs of trees with
//!    any waste (trees are read often, and are small). Only [`PruneOptions::max_repack_bytes`] limits that.
//! 5. **Partly used packs of data** are copied in the order of their waste until what remains of it is tolerated.
//! 6. **Small packs without waste** are copied together when there are several: a backup every few minutes leaves two each time. Fewer
//!    than that would be copied again and again for nothing.
//!
//! These are restic's rules and numbers, so that a prune of restic after ours finds nothing to do.

use super::PruneOptions;
use super::inventory::{Copy, Inventory, KINDS, PackRow, in_pack};
use super::marks::{ByKind, Marks};
use crate::config::Version;
use crate::pack::{self, BlobKind};

/// A pack is small below this part of a full one.
const SMALL_DIVISOR: u64 = 25;

/// The same when asked to copy small packs together: four fifths.
const SMALL_PERCENT_WHEN_ASKED: u64 = 80;

/// So many small packs are worth copying together.
const SMALL_PACKS_MIN: usize = 10;

/// An index file with so many blobs is left alone as long as nothing of it changes.
const FULL_INDEX_BLOBS: usize = 40_000;

/// So many small index files are worth replacing by one even when nothing else changes.
const SMALL_INDEX_FILES_MIN: usize = 10;

/// What becomes of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Keep,
    /// What is needed of it is copied, then it goes.
    Repack,
    /// Nothing of it is needed, it goes.
    Unused,
    /// No index names it, it goes.
    Unindexed,
    /// It is not there, and nothing of it is needed: the index must not name it.
    Missing,
}

/// What a pack holds.
#[derive(Clone, Copy, Debug, Default)]
struct Content {
    /// Bytes of its blobs with their entries in the header.
    bytes: u64,
    /// The part of it that was claimed.
    used_bytes: u64,
    has_data: bool,
    has_trees: bool,
    /// Whether it has plain trees.
    has_plain_trees: bool,
    /// Whether its size is what the index says.
    is_whole: bool,
}

impl Content {
    fn unused_bytes(&self) -> u64 {
        self.bytes - self.used_bytes
    }

    fn is_mixed(&self) -> bool {
        self.has_data && self.has_trees
    }
}

/// The decision.
#[derive(Debug)]
pub(super) struct Plan {
    /// By pack.
    pub(super) fates: Vec<Fate>,
    /// Positions of the copies that stay or are copied: of each needed blob one.
    pub(super) claimed: ByKind<Marks>,
    /// Needed blobs that lie nowhere, or in packs that are not what the index says, by kind and position.
    pub(super) lost: Vec<(BlobKind, u32)>,
    /// Bytes of what is claimed, by pack, with entries in the header.
    pub(super) used_bytes: Vec<u64>,
    /// What remains of unneeded data in packs that stay.
    pub(super) unused_bytes_after: u64,
}

/// Decides.
pub(super) fn decide(
    packs: &[PackRow],
    copies: &ByKind<Vec<Copy>>,
    used: &ByKind<Marks>,
    version: Version,
    options: &PruneOptions,
) -> Plan {
    let mut contents = measure(packs, copies, version);
    let (claimed, lost) = claim(packs, &mut contents, copies, used);
    let mut plan = Plan {
        fates: packs.iter().zip(&contents).map(|(pack, content)| first_fate(pack, content)).collect(),
        claimed,
        lost,
        used_bytes: contents.iter().map(|content| content.used_bytes).collect(),
        unused_bytes_after: 0,
    };
    plan.repack(packs, &contents, options);
    plan
}

fn measure(packs: &[PackRow], copies: &ByKind<Vec<Copy>>, version: Version) -> Vec<Content> {
    let mut contents = vec![Content::default(); packs.len()];
    for kind in KINDS {
        for copy in copies.of(kind) {
            let content = &mut contents[copy.pack as usize];
            content.bytes += pack::packed_bytes(copy.bytes, copy.raw_bytes);
            match kind {
                BlobKind::Data => content.has_data = true,
                BlobKind::Tree => content.has_trees = true,
            }
            content.has_plain_trees |= kind == BlobKind::Tree && version == Version::V2 && copy.raw_bytes == 0;
        }
    }
    for (content, pack) in contents.iter_mut().zip(packs) {
        content.is_whole = pack.stored_bytes == Some(content.bytes + pack::HEADER_BYTES);
    }
    contents
}

/// Lets packs claim the needed blobs in them; what was claimed, and what nobody could claim.
fn claim(
    packs: &[PackRow],
    contents: &mut [Content],
    copies: &ByKind<Vec<Copy>>,
    used: &ByKind<Marks>,
) -> (ByKind<Marks>, Vec<(BlobKind, u32)>) {
    let (mut claimed, mut found) = (ByKind::<Marks>::default(), ByKind::<Marks>::default());
    for pack in claim_order(packs, contents, copies, used) {
        for kind in KINDS {
            let (start, copies) = in_pack(copies.of(kind), pack);
            for (position, copy) in (start..).zip(copies) {
                if used.of(kind).contains(copy.blob as usize) && found.of_mut(kind).insert(copy.blob as usize) {
                    claimed.of_mut(kind).insert(position);
                    contents[pack as usize].used_bytes += pack::packed_bytes(copy.bytes, copy.raw_bytes);
                }
            }
        }
    }
    let lost_of = |kind| {
        let lost = used.of(kind).iter().filter(|blob| !found.of(kind).contains(*blob)).collect::<Vec<_>>();
        lost.into_iter().map(move |blob| (kind, u32::try_from(blob).expect("positions have 32 bits")))
    };
    let lost = KINDS.into_iter().flat_map(lost_of).collect();
    (claimed, lost)
}

/// Whole packs: first those that rustic did not mark for deletion, of these the ones with the least waste, the larger first.
fn claim_order(packs: &[PackRow], contents: &[Content], copies: &ByKind<Vec<Copy>>, used: &ByKind<Marks>) -> Vec<u32> {
    let mut wasted = vec![0; packs.len()];
    for kind in KINDS {
        for copy in copies.of(kind).iter().filter(|copy| !used.of(kind).contains(copy.blob as usize)) {
            wasted[copy.pack as usize] += pack::packed_bytes(copy.bytes, copy.raw_bytes);
        }
    }
    let mut order: Vec<_> = (0u32..)
        .zip(packs.iter().zip(contents))
        .filter(|(_, (_, content))| content.is_whole)
        .map(|(number, (pack, content))| {
            let waste = wasted[number as usize] * 1_000_000 / content.bytes.max(1);
            (pack.is_marked && !pack.is_indexed, waste, std::cmp::Reverse(content.bytes), number)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, _, _, number)| number).collect()
}

fn first_fate(pack: &PackRow, content: &Content) -> Fate {
    match (pack.stored_bytes, pack.is_indexed || pack.is_marked) {
        (None, _) => Fate::Missing,
        (Some(_), false) => Fate::Unindexed,
        (Some(_), true) if content.used_bytes == 0 => Fate::Unused,
        (Some(_), true) => Fate::Keep,
    }
}

impl Plan {
    /// The packs with such a fate.
    pub(super) fn packs(&self, is_meant: impl Fn(Fate) -> bool) -> Vec<u32> {
        (0..).zip(&self.fates).filter(|(_, fate)| is_meant(**fate)).map(|(pack, _)| pack).collect()
    }

    /// Turns `Keep` into `Repack` where that is worth it.
    fn repack(&mut self, packs: &[PackRow], contents: &[Content], options: &PruneOptions) {
        let small_bytes = if options.repack_small {
            pack::PACK_BYTES_MAX as u64 * SMALL_PERCENT_WHEN_ASKED / 100
        } else {
            pack::PACK_BYTES_MAX as u64 / SMALL_DIVISOR
        };
        let is_small = |number: usize| packs[number].stored_bytes.is_some_and(|bytes| bytes < small_bytes);
        let kept = || (0..packs.len()).filter(|number| self.fates[*number] == Fate::Keep);
        let used_bytes: u64 = self.used_bytes.iter().sum();
        let tolerated = options.max_unused.bytes(used_bytes);
        let mut unused: u64 = kept().map(|number| contents[number].unused_bytes()).sum();
        let mut repacked_bytes = 0u64;
        for number in candidates(contents, kept(), is_small) {
            let content = &contents[number];
            let fits = options.max_repack_bytes.is_none_or(|max| repacked_bytes + content.bytes <= max);
            let must = content.has_trees || is_small(number);
            if fits && (must || unused > tolerated) {
                self.fates[number] = Fate::Repack;
                repacked_bytes += content.bytes;
                unused -= content.unused_bytes();
            }
        }
        self.unused_bytes_after = unused;
    }
}

/// The packs that may be copied, in the order in which they are: trees first, then by the part that is waste.
fn candidates(contents: &[Content], kept: impl Iterator<Item = usize>, is_small: impl Fn(usize) -> bool) -> Vec<usize> {
    let (mut small, mut candidates) = (Vec::new(), Vec::new());
    for number in kept {
        let content = &contents[number];
        let is_clean = content.unused_bytes() == 0 && !content.is_mixed() && !content.has_plain_trees;
        match (is_clean, is_small(number)) {
            (true, true) => small.push(number),
            (true, false) => {}
            (false, _) => candidates.push(number),
        }
    }
    if small.len() >= SMALL_PACKS_MIN {
        candidates.append(&mut small);
    }
    candidates.sort_by_cached_key(|number| {
        let content = &contents[*number];
        let waste = u128::from(content.unused_bytes()) * 1_000_000 / u128::from(content.bytes.max(1));
        (!content.has_trees, std::cmp::Reverse(waste), *number)
    });
    candidates
}

/// Which index files are replaced: those that name a pack that goes or that another one names too, those with packs that rustic
/// marked, and all that are not full when there are several.
pub(super) fn replaced_files(inventory: &Inventory, plan: &Plan) -> Vec<bool> {
    let mut replaced = vec![false; inventory.files.len()];
    let mut named = vec![false; inventory.packs.len()];
    for (replaced, file) in replaced.iter_mut().zip(&inventory.files) {
        *replaced = file.has_marked || file.packs.is_empty();
        for pack in &file.packs {
            let was_named = std::mem::replace(&mut named[*pack as usize], true);
            *replaced |= was_named || plan.fates[*pack as usize] != Fate::Keep;
        }
    }
    let not_full = |at: &usize| !replaced[*at] && inventory.files[*at].blobs < FULL_INDEX_BLOBS;
    let small: Vec<usize> = (0..replaced.len()).filter(not_full).collect();
    let writes = replaced.contains(&true) || plan.fates.contains(&Fate::Repack);
    if small.len() >= if writes { 1 } else { SMALL_INDEX_FILES_MIN } {
        small.into_iter().for_each(|at| replaced[at] = true);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::MaxUnused;

    const MIB: u32 = 1 << 20;

    /// Packs of blobs, all of which lie in packs that are what the index says.
    #[derive(Default)]
    struct World {
        packs: Vec<PackRow>,
        copies: ByKind<Vec<Copy>>,
        used: ByKind<Marks>,
        version: Version,
    }

    impl World {
        /// Adds a pack of blobs (kind, number, bytes) and says which it is.
        fn pack(&mut self, blobs: &[(BlobKind, u32, u32)]) -> usize {
            let number = u32::try_from(self.packs.len()).unwrap();
            let (mut offset, mut stored_bytes) = (0, pack::HEADER_BYTES);
            for (kind, blob, bytes) in blobs {
                let copy = Copy { pack: number, offset, blob: *blob, bytes: *bytes, raw_bytes: *bytes };
                self.copies.of_mut(*kind).push(copy);
                offset += bytes;
                stored_bytes += pack::packed_bytes(*bytes, *bytes);
            }
            self.packs.push(PackRow { stored_bytes: Some(stored_bytes), is_indexed: true, is_marked: false });
            self.packs.len() - 1
        }

        fn data(&mut self, blobs: &[(u32, u32)]) -> usize {
            self.pack(&blobs.iter().map(|(blob, bytes)| (BlobKind::Data, *blob, *bytes)).collect::<Vec<_>>())
        }

        fn need(&mut self, data: &[usize]) {
            for blob in data {
                self.used.data.insert(*blob);
            }
        }

        fn decide(&self, options: &PruneOptions) -> Plan {
            decide(&self.packs, &self.copies, &self.used, self.version, options)
        }

        fn fates(&self) -> Vec<Fate> {
            let plan = self.decide(&PruneOptions::default());
            assert!(plan.lost.is_empty());
            plan.fates
        }
    }

    #[test]
    fn what_holds_nothing_needed_goes() {
        let mut world = World::default();
        world.data(&[(0, MIB)]);
        world.data(&[(1, MIB)]);
        let missing = world.data(&[]);
        world.packs[missing].stored_bytes = None;
        world.packs.push(PackRow { stored_bytes: Some(5), ..PackRow::default() });
        world.need(&[0]);
        assert_eq!(world.fates(), [Fate::Keep, Fate::Unused, Fate::Missing, Fate::Unindexed]);
    }

    #[test]
    fn of_doubles_the_one_with_less_waste_beside_it_stays() {
        let mut world = World::default();
        world.data(&[(0, MIB), (1, MIB)]);
        world.data(&[(0, MIB), (1, MIB), (2, MIB)]);
        world.data(&[(1, MIB), (0, MIB)]);
        world.need(&[0, 1]);
        assert_eq!(world.fates(), [Fate::Keep, Fate::Unused, Fate::Unused]);
        world.need(&[2]);
        assert_eq!(world.fates(), [Fate::Unused, Fate::Keep, Fate::Unused], "the larger of two without waste");
    }

    #[test]
    fn marked_packs_come_last_and_are_used_where_there_is_nothing_else() {
        let mut world = World::default();
        let marked = world.data(&[(0, 2 * MIB)]);
        let also_marked = world.data(&[(1, 2 * MIB)]);
        for pack in [marked, also_marked] {
            world.packs[pack] = PackRow { is_indexed: false, is_marked: true, ..world.packs[pack] };
        }
        world.data(&[(0, 2 * MIB), (2, 5)]);
        world.need(&[0, 1]);
        assert_eq!(world.fates(), [Fate::Unused, Fate::Keep, Fate::Keep]);
    }

    #[test]
    fn data_is_copied_from_where_most_is_waste_until_the_rest_is_tolerated() {
        let mut world = World::default();
        world.data(&[(0, 10 * MIB), (1, MIB / 2)]);
        world.data(&[(2, 2 * MIB), (3, 9 * MIB)]);
        world.data(&[(4, 10 * MIB), (5, MIB / 2)]);
        world.need(&[0, 2, 4]);
        let fates = |options: &PruneOptions| world.decide(options).fates;
        assert_eq!(fates(&PruneOptions::default()), [Fate::Keep, Fate::Repack, Fate::Keep]);
        let with = |max_unused| PruneOptions { max_unused, ..PruneOptions::default() };
        assert_eq!(fates(&with(MaxUnused::Unlimited)), [Fate::Keep; 3]);
        assert_eq!(fates(&with(MaxUnused::Bytes(0))), [Fate::Repack; 3]);
        let limited = PruneOptions { max_repack_bytes: Some(u64::from(11 * MIB)), ..with(MaxUnused::Bytes(0)) };
        let plan = world.decide(&limited);
        assert_eq!(plan.fates.iter().filter(|fate| **fate == Fate::Repack).count(), 1);
        assert!(plan.unused_bytes_after >= u64::from(MIB / 2));
    }

    #[test]
    fn trees_are_cleaned_whatever_is_tolerated() {
        for (kinds, version, expected) in [
            ([BlobKind::Tree, BlobKind::Tree], Version::V2, Fate::Repack),
            ([BlobKind::Tree, BlobKind::Tree], Version::V1, Fate::Repack),
            ([BlobKind::Data, BlobKind::Data], Version::V2, Fate::Keep),
        ] {
            let mut world = World { version, ..World::default() };
            world.pack(&[(kinds[0], 0, 10 * MIB), (kinds[1], 1, 50)]);
            world.used.of_mut(kinds[0]).insert(0);
            assert_eq!(world.fates(), [expected]);
            let nothing = PruneOptions { max_repack_bytes: Some(0), ..PruneOptions::default() };
            assert_eq!(world.decide(&nothing).fates, [Fate::Keep]);
        }
    }

    #[test]
    fn mixed_packs_and_plain_trees_are_copied_though_nothing_is_waste() {
        let mut mixed = World::default();
        mixed.pack(&[(BlobKind::Tree, 0, 10 * MIB), (BlobKind::Data, 0, 50)]);
        mixed.used.trees.insert(0);
        mixed.need(&[0]);
        assert_eq!(mixed.fates(), [Fate::Repack]);
        for (version, expected) in [(Version::V2, Fate::Repack), (Version::V1, Fate::Keep)] {
            let mut plain = World { version, ..World::default() };
            plain.pack(&[(BlobKind::Tree, 0, 10 * MIB)]);
            plain.copies.trees[0].raw_bytes = 0;
            plain.packs[0].stored_bytes = Some(pack::packed_bytes(10 * MIB, 0) + pack::HEADER_BYTES);
            plain.used.trees.insert(0);
            assert_eq!(plain.fates(), [expected]);
        }
    }

    #[test]
    fn small_packs_are_copied_together_from_ten_on() {
        let mut world = World::default();
        for blob in 0..9 {
            world.data(&[(blob, 1000)]);
            world.need(&[blob as usize]);
        }
        assert_eq!(world.fates(), [Fate::Keep; 9]);
        world.data(&[(9, 1000)]);
        let larger = world.data(&[(10, 12 * MIB)]);
        world.need(&[9, 10]);
        let mut expected = [Fate::Repack; 11];
        expected[larger] = Fate::Keep;
        assert_eq!(world.fates(), expected);
        let asked = PruneOptions { repack_small: true, ..PruneOptions::default() };
        assert_eq!(world.decide(&asked).fates, [Fate::Repack; 11]);
    }

    #[test]
    fn a_pack_of_another_size_than_the_index_says_holds_nothing() {
        let mut world = World::default();
        let odd = world.data(&[(0, MIB), (1, MIB)]);
        world.packs[odd].stored_bytes = world.packs[odd].stored_bytes.map(|bytes| bytes - 1);
        world.data(&[(0, MIB)]);
        world.need(&[0]);
        assert_eq!(world.fates(), [Fate::Unused, Fate::Keep]);
        world.need(&[1]);
        assert_eq!(world.decide(&PruneOptions::default()).lost, [(BlobKind::Data, 1)]);
    }
}
