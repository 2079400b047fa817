// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the handler of memfds needs of shared memory and the page cache, which export
 * none of it: to hold a file still, to take its pages by runs, to make a file and to put
 * pages into it. What is done with them is decided in handlers/memfd.rs, and who pays is looked
 * up in luo_memfd_group.c.
 *
 * A file is held still by shmem's own flag: its size does not change and no hole is
 * punched into it. Its pages stay where they are because somebody has a reference to
 * them: reclaim, migration and the splitting of folios want to be alone with a page, and
 * make sure of it under the lock of the page cache. khugepaged, which joins folios, makes
 * sure of it once for each, and keeps those locked that it has looked at. So a locked folio
 * is waited for before it is taken.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/kexec_handover.h>
#include <linux/liveupdate.h>
#include <linux/memcontrol.h>
#include <linux/memfd.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagemap.h>
#include <linux/posix_acl.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/user_namespace.h>
#include <linux/xarray.h>
#include <uapi/linux/memfd.h>

#include "../../../mm/internal.h"
#include "luo_guest_mm.h"
#include "luo_hugetlb_mm.h"
#include "luo_memfd_mm.h"

/* Entries that are looked at in one go, with interrupts off. */
#define LUO_MEMFD_LOOKS 1024

/* Folios that are moved or swapped in in one go. */
#define LUO_MEMFD_BRINGS 32

/*
 * Pages of a run that was allocated and not written, at most: if somebody writes to one of
 * them, the others are made to be zeros at the freeze, while everybody waits.
 */
#define LUO_MEMFD_FRESH_PAGES 512

/* The flags of an open file that outlive it. */
#define LUO_MEMFD_FLAGS (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

/* The seals that follow from F_SEAL_EXEC on a file that can be executed. */
#define LUO_MEMFD_FOLLOW \
	(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

bool luo_memfd_is(struct file *file)
{
	return shmem_file(file) && !file_inode(file)->i_nlink;
}

bool luo_memfd_is_huge(struct file *file)
{
	return luo_hugetlb_is(file);
}

/* Whoever writes to the file may have this lock for as long as they like. */
bool luo_memfd_lock(struct file *file)
{
	return inode_trylock(file_inode(file));
}

void luo_memfd_unlock(struct file *file)
{
	inode_unlock(file_inode(file));
}

/*
 * Beginning to hold takes the lock above, so that nobody is in the middle of what is
 * forbidden from now on. Ending takes none. Of a memfd no other of these flags is ever
 * changed, so the spinlock keeps the two of us from each other only.
 */
void luo_memfd_hold(struct file *file, bool hold)
{
	struct inode *inode = file_inode(file);
	struct shmem_inode_info *info = SHMEM_I(inode);

	if (luo_hugetlb_is(file)) {
		luo_hugetlb_hold(file, hold);
		return;
	}
	spin_lock(&info->lock);
	shmem_freeze(inode, hold);
	spin_unlock(&info->lock);
}

/* How many pages the file has, in memory or swapped out. */
u64 luo_memfd_pages(struct file *file)
{
	struct shmem_inode_info *info = SHMEM_I(file_inode(file));
	u64 pages;

	if (!shmem_file(file))
		return READ_ONCE(file->f_mapping->nrpages);
	spin_lock(&info->lock);
	pages = READ_ONCE(file->f_mapping->nrpages) + info->swapped;
	spin_unlock(&info->lock);
	return pages;
}

static unsigned int luo_memfd_seals(struct file *file)
{
	if (luo_hugetlb_is(file))
		return luo_hugetlb_seals(file);
	return shmem_file(file) ? SHMEM_I(file_inode(file))->seals : 0;
}

u64 luo_memfd_size(struct file *file, u32 *seals)
{
	struct inode *inode = file_inode(file);

	*seals = luo_memfd_seals(file);
	return i_size_read(inode);
}

static struct luo_memfd_time luo_memfd_time_of(struct timespec64 time)
{
	return (struct luo_memfd_time){ time.tv_sec, time.tv_nsec };
}

static struct timespec64 luo_memfd_timespec(struct luo_memfd_time time)
{
	return (struct timespec64){ time.seconds, time.nanoseconds };
}

/* Writes the name of the file; its length, or 0 if it is too long. */
size_t luo_memfd_look_name(struct file *file, char *name, size_t size)
{
	struct name_snapshot snapshot;
	ssize_t length;

	take_dentry_name_snapshot(&snapshot, file->f_path.dentry);
	length = strscpy(name, snapshot.name.name, size);
	release_dentry_name_snapshot(&snapshot);
	return max(length, 0);
}

/*
 * The mode of a file. With an access control list, which is not kept, the group's bits are
 * what the list may give at most, and nobody has been given them.
 */
static u32 luo_memfd_mode(struct inode *inode)
{
	u32 mode = inode->i_mode & S_IALLUGO;
	struct posix_acl *list = get_inode_acl(inode, ACL_TYPE_ACCESS);

	if (IS_ERR(list))
		return mode & ~S_IRWXG;
	if (list) {
		mode &= ~S_IRWXG;
		posix_acl_release(list);
	}
	return mode;
}

void luo_memfd_look(struct file *file, struct luo_memfd_facts *facts)
{
	struct inode *inode = file_inode(file);

	facts->size = i_size_read(inode);
	facts->position = file->f_pos;
	facts->seals = luo_memfd_seals(file);
	facts->huge = luo_hugetlb_order(file);
	facts->flags = file->f_flags & LUO_MEMFD_FLAGS;
	facts->mode = luo_memfd_mode(inode);
	facts->uid = from_kuid(&init_user_ns, inode->i_uid);
	facts->gid = from_kgid(&init_user_ns, inode->i_gid);
	facts->access = luo_memfd_time_of(inode_get_atime(inode));
	facts->modification = luo_memfd_time_of(inode_get_mtime(inode));
	facts->change = luo_memfd_time_of(inode_get_ctime(inode));
	/* Others do not know it. */
	if (shmem_file(file))
		facts->birth = luo_memfd_time_of(SHMEM_I(inode)->i_crtime);
}

/* Adds a run, or makes the last one longer. False if there is no room. */
static bool luo_memfd_add(struct luo_memfd_run *runs, size_t *count, size_t most,
			  const struct luo_memfd_run *run)
{
	struct luo_memfd_run *last = *count ? &runs[*count - 1] : NULL;

	if (last && last->state == run->state && last->order == run->order &&
	    last->index + last->pages == run->index &&
	    last->pages + run->pages <= U32_MAX &&
	    (run->state != LUO_MEMFD_FRESH ||
	     last->pages + run->pages <= LUO_MEMFD_FRESH_PAGES) &&
	    (run->state >= LUO_MEMFD_AWAY ||
	     (last->frame + last->pages == run->frame &&
	      pfn_to_nid(last->frame) == pfn_to_nid(run->frame)))) {
		last->pages += run->pages;
		return true;
	}
	if (*count == most)
		return false;
	runs[(*count)++] = *run;
	return true;
}

static struct luo_memfd_run luo_memfd_run_of(struct folio *folio)
{
	return (struct luo_memfd_run){
		.index = folio->index,
		.frame = folio_pfn(folio),
		.pages = folio_nr_pages(folio),
		.order = folio_order(folio),
		.state = folio_test_uptodate(folio) ? LUO_MEMFD_WRITTEN :
						      LUO_MEMFD_FRESH,
	};
}

/* What was seen of the last folio: whether all in its page block can stay, and its node. */
struct luo_memfd_block {
	unsigned long number;
	bool stays;
	int node;
};

/*
 * Whether a folio can be taken where it is. Of a page block that is asked once: all of it is
 * of one kind. One that is locked may be in somebody's hands who has seen that there is no
 * reference to it; but nobody moves or joins the memory of virtual machines.
 */
static bool luo_memfd_stays(struct folio *folio, struct luo_memfd_block *block)
{
	unsigned long number = folio_pfn(folio) >> pageblock_order;

	if (number != block->number) {
		block->number = number;
		block->stays = folio_is_longterm_pinnable(folio);
	}
	return block->stays && (!folio_test_locked(folio) ||
				mapping_inaccessible(folio->mapping));
}

/*
 * Makes the last run longer by a single page, if that goes on where it ends: what most
 * pages of most files do.
 */
static bool luo_memfd_goes_on(struct luo_memfd_run *last, struct folio *folio,
			      struct luo_memfd_block *block)
{
	if (!last || last->state != LUO_MEMFD_WRITTEN || last->order ||
	    folio->index != last->index + last->pages ||
	    folio_pfn(folio) != last->frame + last->pages ||
	    folio_test_large(folio) || !folio_test_uptodate(folio) ||
	    folio_nid(folio) != block->node || folio_test_hwpoison(folio) ||
	    !luo_memfd_stays(folio, block) || last->pages == U32_MAX)
		return false;
	last->pages++;
	return true;
}

/* What is alike in the flags of single pages that can be taken where they are. */
#define LUO_MEMFD_ALIKE \
	(BIT(PG_locked) | BIT(PG_uptodate) | BIT(PG_head) | __PG_HWPOISON | \
	 NODES_MASK << NODES_PGSHIFT)

/*
 * The same for as many pages behind a single page that has just become the last one of a run as
 * are in one node of the page cache and in one page block with it, at most so many. What can be
 * told by their flags is looked at page by page, and the rest is alike for all of them. How many
 * there are; a reference to each is taken.
 */
static unsigned int luo_memfd_go_on(struct xa_state *xas, struct luo_memfd_run *last,
				    struct folio *folio, u64 most)
{
	struct xa_node *node = xas->xa_node;
	struct page *page = folio_page(folio, 0);
	const unsigned long flags = folio->flags.f & LUO_MEMFD_ALIKE;
	unsigned long in_block = pageblock_nr_pages - 1 -
				 (folio_pfn(folio) & (pageblock_nr_pages - 1));
	unsigned int offset = xas->xa_offset;
	unsigned int count;

	/* A file of one page has no node, and those above the lowest have nodes in their slots. */
	if (!node || node->shift || offset != (xas->xa_index & XA_CHUNK_MASK))
		return 0;
	most = min3(most, XA_CHUNK_MASK - offset, in_block);
	most = min(most, U32_MAX - last->pages);
	for (count = 0; count < most; count++) {
		struct page *next = page + count + 1;

		/* Neither a hole nor what was swapped out is at such an address. */
		if (xa_entry(xas->xa, node, offset + count + 1) != next ||
		    (READ_ONCE(next->flags.f) & LUO_MEMFD_ALIKE) != flags)
			break;
		page_ref_inc(next);
	}
	xas->xa_offset += count;
	xas->xa_index += count;
	last->pages += count;
	return count;
}

/*
 * Takes references to the folios of the file from *next on, before end, and says what
 * they are; to those that are away it takes none. *next is where to go on: it is end if
 * there is nothing left. The file is held still.
 */
size_t luo_memfd_take(struct file *file, u64 *next, u64 end,
		      struct luo_memfd_run *runs, size_t most)
{
	XA_STATE(xas, &file->f_mapping->i_pages, *next);
	struct luo_memfd_block block = { .number = ULONG_MAX, .node = NUMA_NO_NODE };
	unsigned int looks = 0;
	struct folio *folio;
	size_t count = 0;
	bool all = true;

	if (*next >= end)
		return 0;
	xas_lock_irq(&xas);
	xas_for_each(&xas, folio, end - 1) {
		struct luo_memfd_run run;

		if (looks++ >= LUO_MEMFD_LOOKS) {
			all = false;
			break;
		}
		if (!xa_is_value(folio) &&
		    luo_memfd_goes_on(count ? &runs[count - 1] : NULL, folio,
				      &block)) {
			unsigned int more;

			folio_get(folio);
			more = luo_memfd_go_on(&xas, &runs[count - 1], folio,
					       min(end - 1 - folio->index,
						   LUO_MEMFD_LOOKS - looks));
			looks += more;
			*next = folio->index + more + 1;
			continue;
		}
		if (xa_is_value(folio)) {
			u64 pages = 1ULL << xas_get_order(&xas);

			run = (struct luo_memfd_run){
				.index = round_down(xas.xa_index, pages),
				.pages = pages,
				.state = LUO_MEMFD_AWAY,
			};
		} else {
			run = luo_memfd_run_of(folio);
			block.node = folio_nid(folio);
			if (folio_contain_hwpoisoned_page(folio)) {
				run.order = 0;
				run.state = LUO_MEMFD_BROKEN;
			} else if (!luo_memfd_stays(folio, &block)) {
				run.order = 0;
				run.state = LUO_MEMFD_AWAY;
			}
		}
		if (!luo_memfd_add(runs, &count, most, &run)) {
			all = false;
			break;
		}
		/* The page cache has one as long as we have its lock. */
		if (run.state < LUO_MEMFD_AWAY)
			folio_get(folio);
		*next = run.index + run.pages;
	}
	xas_unlock_irq(&xas);
	if (all)
		*next = end;
	return count;
}

/*
 * Whether a folio to which there is a reference is the file's still: whoever had it locked
 * may have put another in its place.
 */
static bool luo_memfd_has(struct file *file, struct folio *folio)
{
	bool has;

	folio_lock(folio);
	has = folio->mapping == file->f_mapping;
	folio_unlock(folio);
	return has;
}

/*
 * Whether somebody uses one of the folios that have to be moved, and so keeps them where they are:
 * a device that reads from it or writes to it, or a pipe that has it.
 */
static bool luo_memfd_is_in_use(struct file *file, u64 index, u64 end)
{
	XA_STATE(xas, &file->f_mapping->i_pages, index);
	unsigned int looks = LUO_MEMFD_BRINGS;
	struct folio *folio;
	bool in_use = false;

	/* What has just been put back is referred to by lists of each processor's. */
	lru_add_drain_all();
	xas_lock_irq(&xas);
	xas_for_each(&xas, folio, end - 1) {
		if (!looks--)
			break;
		if (xa_is_value(folio) || folio_is_longterm_pinnable(folio))
			continue;
		in_use = folio_ref_count(folio) > folio_expected_ref_count(folio);
		if (in_use)
			break;
	}
	xas_unlock_irq(&xas);
	return in_use;
}

/*
 * Moves folios to where they can stay, or swaps them in, waits for whoever has them locked,
 * and takes references to them. All of the pages are there, in memory or not. The number of
 * runs, or an error: EAGAIN if another folio has come in the place of one, EBUSY if somebody uses
 * one that has to be moved.
 */
long luo_memfd_bring(struct file *file, u64 index, u64 pages,
		     struct luo_memfd_run *runs, size_t most)
{
	loff_t size = i_size_read(file_inode(file));
	loff_t end = min_t(loff_t, (index + pages) << PAGE_SHIFT, size);
	struct folio *folios[LUO_MEMFD_BRINGS];
	size_t count = 0;
	pgoff_t offset;
	bool same = true;
	long found;
	long i;

	if (most < ARRAY_SIZE(folios) || end <= (loff_t)(index << PAGE_SHIFT))
		return -EINVAL;
	found = memfd_pin_folios(file, index << PAGE_SHIFT, end - 1, folios,
				 ARRAY_SIZE(folios), &offset);
	if (found == -ENOMEM && luo_memfd_is_in_use(file, index, index + pages))
		return -EBUSY;
	if (found < 0)
		return found;
	for (i = 0; i < found && same; i++)
		same = luo_memfd_has(file, folios[i]);
	if (!same) {
		unpin_folios(folios, found);
		return -EAGAIN;
	}
	for (i = 0; i < found; i++) {
		struct luo_memfd_run run = luo_memfd_run_of(folios[i]);

		luo_memfd_add(runs, &count, most, &run);
		folio_get(folios[i]);
		unpin_folio(folios[i]);
	}
	return count;
}

/*
 * Looks at a fresh run again, of which we have the references. If somebody has written to
 * a folio of it, the others are made to be zeros indeed, and it is not fresh any more.
 */
bool luo_memfd_settle(struct file *file, const struct luo_memfd_run *run)
{
	u64 step = 1ULL << run->order;
	bool fresh = true;
	u64 i;

	for (i = 0; i < run->pages && fresh; i += step)
		fresh = !folio_test_uptodate(pfn_folio(run->frame + i));
	if (fresh)
		return true;
	for (i = 0; i < run->pages; i += step) {
		struct folio *folio = pfn_folio(run->frame + i);

		folio_lock(folio);
		if (!folio_test_uptodate(folio)) {
			folio_zero_range(folio, 0, folio_size(folio));
			folio_mark_uptodate(folio);
		}
		folio_unlock(folio);
		cond_resched();
	}
	return false;
}

/* Pages of the machine that have failed so far: as long as it is the same, no more have. */
u64 luo_memfd_failed(void)
{
	return IS_ENABLED(CONFIG_MEMORY_FAILURE) ? atomic_long_read(&num_poisoned_pages) : 0;
}

/* Whether no page of a run to which there are references has failed. */
bool luo_memfd_is_sound(const struct luo_memfd_run *run)
{
	u64 step = 1ULL << run->order;
	u64 i;

	for (i = 0; i < run->pages; i += step) {
		if (folio_contain_hwpoisoned_page(pfn_folio(run->frame + i)))
			return false;
		cond_resched();
	}
	return true;
}

/* Has the pages kept over a kexec, so many under one key, or none of them. */
int luo_memfd_keep(const struct luo_memfd_run *run, u64 step)
{
	int err;
	u64 i;

	for (i = 0; i < run->pages; i += step) {
		err = kho_preserve_pages(pfn_to_page(run->frame + i), step);
		if (err) {
			while (i) {
				i -= step;
				kho_unpreserve_pages(pfn_to_page(run->frame + i), step);
			}
			return err;
		}
		cond_resched();
	}
	return 0;
}

void luo_memfd_keep_no_more(const struct luo_memfd_run *run, u64 step)
{
	u64 i;

	for (i = 0; i < run->pages; i += step) {
		kho_unpreserve_pages(pfn_to_page(run->frame + i), step);
		cond_resched();
	}
}

/* Gives the references back. */
void luo_memfd_let_go(const struct luo_memfd_run *run)
{
	u64 step = 1ULL << run->order;
	u64 i;

	for (i = 0; i < run->pages; i += step) {
		folio_put(pfn_folio(run->frame + i));
		cond_resched();
	}
}

/* Makes a file be as it is known to have been, but for its size, its mode and its seals. */
int luo_memfd_become(struct file *file, const struct luo_memfd_facts *facts)
{
	kuid_t uid = make_kuid(&init_user_ns, facts->uid);
	kgid_t gid = make_kgid(&init_user_ns, facts->gid);
	struct inode *inode = file_inode(file);

	if (!uid_valid(uid) || !gid_valid(gid))
		return -EINVAL;
	inode->i_uid = uid;
	inode->i_gid = gid;
	file->f_flags |= facts->flags & LUO_MEMFD_FLAGS;
	/* As an open by its path gives it: without that nobody can have the flag. */
	if (file->f_flags & O_DIRECT)
		file->f_mode |= FMODE_CAN_ODIRECT;
	file->f_iocb_flags = iocb_flags(file);
	inode_set_atime_to_ts(inode, luo_memfd_timespec(facts->access));
	inode_set_mtime_to_ts(inode, luo_memfd_timespec(facts->modification));
	inode_set_ctime_to_ts(inode, luo_memfd_timespec(facts->change));
	if (shmem_file(file))
		SHMEM_I(inode)->i_crtime = luo_memfd_timespec(facts->birth);
	return 0;
}

/*
 * A file without pages of which the facts are true. Without a name mainline's handler has
 * written them, and what that does not know is what it makes of a file.
 */
struct file *luo_memfd_make(const struct luo_memfd_facts *facts,
			    const char *name)
{
	struct inode *inode;
	struct file *file;
	int err;

	if (facts->huge)
		file = luo_hugetlb_make(name ? name : "", facts->huge);
	else
		file = memfd_alloc_file(name ? name : "", MFD_ALLOW_SEALING);
	if (IS_ERR(file))
		return file;
	inode = file_inode(file);
	/*
	 * The mode comes before the seals: F_SEAL_EXEC on a file that can be executed
	 * seals all of it. A file that has that seal and not those which follow from it
	 * could not be executed.
	 */
	if (name)
		inode->i_mode = S_IFREG | (facts->mode & S_IALLUGO);
	else if ((facts->seals & F_SEAL_EXEC) &&
		 (facts->seals & LUO_MEMFD_FOLLOW) != LUO_MEMFD_FOLLOW)
		inode->i_mode &= ~0111;
	err = memfd_add_seals(file, facts->seals);
	if (!err && name)
		err = luo_memfd_become(file, facts);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	i_size_write(inode, facts->size);
	vfs_setpos(file, facts->position, MAX_LFS_FILESIZE);
	return file;
}

/*
 * Gets pages back from Kexec HandOver, all or none. The caller has luo_shim_lock_handed():
 * two damaged files may name the same pages, and nobody else looks for them between our look
 * and what comes of it.
 */
bool luo_memfd_get_back(const struct luo_memfd_run *run, u64 step)
{
	u64 i;

	for (i = 0; i < run->pages; i += step) {
		if (!kho_are_preserved_pages(PFN_PHYS(run->frame + i), step))
			return false;
	}
	for (i = 0; i < run->pages; i += step) {
		kho_restore_pages(PFN_PHYS(run->frame + i), step);
		cond_resched();
	}
	return true;
}

/* Makes a folio of single pages that came back; of one that is there, nothing. */
struct folio *luo_memfd_compound(u64 frame, unsigned int order)
{
	struct page *page = pfn_to_page(frame);
	u64 i;

	if (!order || PageHead(page))
		return page_folio(page);
	for (i = 1; i < 1ULL << order; i++)
		set_page_count(page + i, 0);
	prep_compound_page(page, order);
	return page_folio(page);
}

/* The same, for memory that can be mapped in parts. */
static struct folio *luo_memfd_folio(u64 frame, unsigned int order)
{
	return page_rmappable_folio(&luo_memfd_compound(frame, order)->page);
}

/* Undoes what is done to a folio before it is in the page cache. */
static void luo_memfd_undo(struct folio *folio)
{
	mem_cgroup_uncharge(folio);
	folio->mapping = NULL;
	folio_clear_swapbacked(folio);
	__folio_clear_locked(folio);
}

/* Folios that follow each other in one node of the page cache, or a large one. */
struct luo_memfd_batch {
	struct folio *folios[XA_CHUNK_SIZE];
	unsigned int count;
	unsigned int order;
	u64 index;
};

/* Whether a folio belongs into a batch behind what it has. */
static bool luo_memfd_fits(const struct luo_memfd_batch *batch,
			   const struct luo_memfd_run *run)
{
	if (!batch->count)
		return true;
	return !batch->order && !run->order &&
	       run->index == batch->index + batch->count &&
	       (run->index & XA_CHUNK_MASK);
}

/* Puts the folios of a batch into the page cache; how many is in *stored. */
static int luo_memfd_store(struct address_space *mapping,
			   const struct luo_memfd_batch *batch, gfp_t gfp,
			   unsigned int *stored)
{
	XA_STATE(xas, &mapping->i_pages, batch->index);
	u64 last = batch->index + ((u64)batch->count << batch->order) - 1;

	*stored = 0;
	do {
		xas_lock_irq(&xas);
		/* No two may be at one place. */
		xas_set(&xas, batch->index + *stored);
		if (xas_find(&xas, last)) {
			xas_set_err(&xas, -EEXIST);
			xas_unlock_irq(&xas);
			/* Frees what an earlier round has asked for. */
			continue;
		}
		xas_set_order(&xas, batch->index + *stored, batch->order);
		while (*stored < batch->count) {
			xas_store(&xas, batch->folios[*stored]);
			if (xas_error(&xas))
				break;
			mapping->nrpages += 1UL << batch->order;
			if (++*stored < batch->count)
				xas_next(&xas);
		}
		xas_unlock_irq(&xas);
	} while (xas_nomem(&xas, gfp));
	return xas_error(&xas);
}

/* Whether two folios are accounted for at the same places. */
static bool luo_memfd_alike(const struct folio *one, const struct folio *other)
{
	if (folio_nid(one) != folio_nid(other))
		return false;
#ifdef CONFIG_MEMCG
	return one->memcg_data == other->memcg_data;
#else
	return true;
#endif
}

/* Counts folios that are in the page cache now: those that are alike in one go. */
static void luo_memfd_count(const struct luo_memfd_batch *batch,
			    unsigned int stored)
{
	unsigned int from = 0;

	while (from < stored) {
		struct folio *folio = batch->folios[from];
		unsigned int to = from + 1;
		long pages;

		while (to < stored && luo_memfd_alike(folio, batch->folios[to]))
			to++;
		pages = (long)(to - from) << batch->order;
		lruvec_stat_mod_folio(folio, NR_FILE_PAGES, pages);
		lruvec_stat_mod_folio(folio, NR_SHMEM, pages);
		if (folio_test_pmd_mappable(folio))
			lruvec_stat_mod_folio(folio, NR_SHMEM_THPS, pages);
		from = to;
	}
}

/*
 * Puts folios that are in the page cache now where reclaim finds them, those of one list with
 * its lock once. Nobody has made the file's memory unevictable.
 */
static void luo_memfd_add_to_lru(const struct luo_memfd_batch *batch,
				 unsigned int stored)
{
	struct lruvec *lruvec = NULL;
	unsigned int i;

	for (i = 0; i < stored; i++) {
		lruvec = folio_lruvec_relock_irq(batch->folios[i], lruvec);
		lruvec_add_folio(lruvec, batch->folios[i]);
		folio_set_lru(batch->folios[i]);
	}
	if (lruvec)
		lruvec_unlock_irq(lruvec);
}

/* Puts a batch into the file; how many of its folios are in it is in *stored. */
static int luo_memfd_insert_batch(struct inode *inode,
				  struct luo_memfd_batch *batch, gfp_t gfp,
				  unsigned int *stored)
{
	int err = luo_memfd_store(inode->i_mapping, batch, gfp & GFP_RECLAIM_MASK,
				  stored);
	unsigned int i;

	luo_memfd_count(batch, *stored);
	/* The reference that a folio came with is the page cache's now. */
	for (i = 0; i < *stored && batch->order; i++)
		folio_ref_add(batch->folios[i], (1 << batch->order) - 1);
	luo_memfd_add_to_lru(batch, *stored);
	for (i = 0; i < *stored; i++)
		folio_unlock(batch->folios[i]);
	for (; i < batch->count; i++)
		luo_memfd_undo(batch->folios[i]);
	return err;
}

/* Makes the first folio of a run ready for the page cache, and charges somebody for it. */
static struct folio *luo_memfd_ready(struct inode *inode,
				     const struct luo_memfd_run *run, gfp_t gfp)
{
	struct folio *folio = luo_memfd_folio(run->frame, run->order);
	int err;

	__folio_set_locked(folio);
	__folio_set_swapbacked(folio);
	err = mem_cgroup_charge(folio, NULL, gfp);
	if (err) {
		luo_memfd_undo(folio);
		return ERR_PTR(err);
	}
	folio->mapping = inode->i_mapping;
	folio->index = run->index;
	if (run->state == LUO_MEMFD_FRESH)
		folio_clear_uptodate(folio);
	else
		__folio_mark_uptodate(folio);
	folio_set_dirty(folio);
	return folio;
}

void luo_memfd_advance(struct luo_memfd_run *run, u64 pages)
{
	run->index += pages;
	run->frame += pages;
	run->pages -= pages;
}

/*
 * Accounts for pages that are to come into a file. Huge ones are in their pool, and those of
 * virtual machines are nobody's business.
 */
int luo_memfd_account(struct file *file, u64 pages)
{
	if (!shmem_file(file))
		return 0;
	return shmem_inode_acct_blocks(file_inode(file), pages);
}

/* So many pages were accounted for; those that are not there are given back. */
void luo_memfd_settle_account(struct file *file, u64 pages)
{
	if (shmem_file(file))
		shmem_recalc_inode(file_inode(file), pages, 0);
}

/*
 * Puts pages that came back into the file, which nobody else knows yet, and which has
 * accounted for them. What is in it is taken off the runs, whatever is returned; the rest
 * is still the caller's, and another try can go on with it. Nobody is killed for the
 * memory that is charged for. Huge pages are charged to the group, or without one to the
 * caller's.
 */
int luo_memfd_insert(struct file *file, struct luo_memfd_run *runs, size_t count,
		     struct hugetlb_cgroup *group)
{
	struct inode *inode = file_inode(file);
	gfp_t gfp = mapping_gfp_mask(inode->i_mapping) | __GFP_RETRY_MAYFAIL |
		    __GFP_NOWARN;
	struct luo_memfd_batch batch;
	size_t at = 0;
	int err = 0;

	if (luo_hugetlb_is(file)) {
		for (; !err && at < count; at++)
			err = luo_hugetlb_put(file, &runs[at], group);
		return err;
	}
	if (!shmem_file(file))
		return luo_guest_insert(file, runs, count, gfp);
	while (!err && at < count) {
		struct luo_memfd_run ahead = runs[at];
		size_t next = at;
		unsigned int stored;
		u64 done;
		int stop;

		/* All of it is in the file, from an earlier try perhaps. */
		if (!ahead.pages) {
			at++;
			continue;
		}
		batch.count = 0;
		batch.order = ahead.order;
		batch.index = ahead.index;
		while (batch.count < ARRAY_SIZE(batch.folios) &&
		       luo_memfd_fits(&batch, &ahead)) {
			struct folio *folio = luo_memfd_ready(inode, &ahead, gfp);

			if (IS_ERR(folio)) {
				err = PTR_ERR(folio);
				break;
			}
			batch.folios[batch.count++] = folio;
			luo_memfd_advance(&ahead, 1ULL << ahead.order);
			while (!ahead.pages && ++next < count)
				ahead = runs[next];
			if (!ahead.pages)
				break;
		}
		if (!batch.count)
			break;
		stop = luo_memfd_insert_batch(inode, &batch, gfp, &stored);
		if (stop)
			err = stop;
		for (done = (u64)stored << batch.order; done;) {
			u64 here = min(done, runs[at].pages);

			luo_memfd_advance(&runs[at], here);
			done -= here;
			if (!runs[at].pages)
				at++;
		}
		cond_resched();
	}
	return err;
}

/*
 * The order that pages are joined to which follow each other both in the file and in
 * memory; 0 for none.
 */
u32 luo_memfd_join_order(void)
{
	return IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ? HPAGE_PMD_ORDER : 0;
}

/* Frees pages that came back; huge ones take the place that their pool has left for them. */
void luo_memfd_drop(const struct luo_memfd_run *run, bool huge)
{
	u64 i = 0;

	while (huge && i < run->pages) {
		if (!luo_hugetlb_give(luo_memfd_compound(run->frame + i, run->order)))
			break;
		i += 1ULL << run->order;
		cond_resched();
	}
	while (i < run->pages) {
		struct folio *folio = page_folio(pfn_to_page(run->frame + i));

		i += folio_nr_pages(folio);
		folio_put(folio);
		cond_resched();
	}
}

/* The node that a page is on. */
int luo_memfd_node(u64 frame)
{
	return pfn_to_nid(frame);
}

/* What C code knows our handlers by, to have objects that their files share. */
static const struct liveupdate_file_ops luo_memfd_no_ops = {};

struct liveupdate_file_handler luo_memfd_handlers[] = {
	{ .ops = &luo_memfd_no_ops, .compatible = "memfd-v2" },
	{ .ops = &luo_memfd_no_ops, .compatible = "luo-memfd-v1" },
	{ .ops = &luo_memfd_no_ops, .compatible = "luo-hugetlb-v1" },
};
