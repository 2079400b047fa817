// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pages of a file in the old kernel: taken by runs, and brought to where they can stay. Which
 * file that is, and what becomes of the runs, is decided in sys/memfd/kept.rs.
 *
 * Its pages stay where they are because somebody has a reference to them: migration and the
 * splitting of folios want to be alone with a page, and make sure of it under the lock of the page
 * cache. khugepaged, which joins folios, makes sure of it once for each, and keeps those locked
 * that it has looked at. So a locked folio is waited for before it is taken. Reclaim looks at the
 * references to a page of shared memory without that lock, before it moves the page to the swap
 * cache: a page that was just taken may still go there. It is not freed, for there is a
 * reference, and whoever swaps it in is given the same one.
 */
#include <linux/fs.h>
#include <linux/memfd.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <linux/xarray.h>

#include "../../../mm/internal.h"
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
 * Whether it is a single page that somebody has written to and that can be taken where it is: what
 * most pages of most files are.
 */
static bool luo_memfd_is_plain(struct folio *folio, struct luo_memfd_block *block)
{
	const unsigned long looked = BIT(PG_locked) | BIT(PG_uptodate) | BIT(PG_head) |
				     __PG_HWPOISON;

	return (READ_ONCE(folio->flags.f) & looked) == BIT(PG_uptodate) &&
	       luo_memfd_stays(folio, block);
}

/* Whether such a page goes on where a run ends. */
static bool luo_memfd_goes_on(const struct luo_memfd_run *last, struct folio *folio,
			      const struct luo_memfd_block *block)
{
	return last->state == LUO_MEMFD_WRITTEN && !last->order &&
	       folio->index == last->index + last->pages &&
	       folio_pfn(folio) == last->frame + last->pages &&
	       folio_nid(folio) == block->node && last->pages < U32_MAX;
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
		if (!xa_is_value(folio) && luo_memfd_is_plain(folio, &block)) {
			unsigned int more;

			if (count && luo_memfd_goes_on(&runs[count - 1], folio, &block)) {
				runs[count - 1].pages++;
			} else if (count < most) {
				block.node = folio_nid(folio);
				runs[count++] = (struct luo_memfd_run){
					.index = folio->index,
					.frame = folio_pfn(folio),
					.pages = 1,
					.state = LUO_MEMFD_WRITTEN,
				};
			} else {
				all = false;
				break;
			}
			/* The page cache has one as long as we have its lock. */
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
