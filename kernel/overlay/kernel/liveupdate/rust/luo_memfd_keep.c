// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of a file to which there are references: kept by Kexec HandOver, looked at again before the
 * jump, and let go of. It is decided in sys/memfd/kept.rs.
 */
#include <linux/highmem.h>
#include <linux/kexec_handover.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "luo_memfd_mm.h"

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

/* Pages under one key: a folio for who looks for folios, else as many as there are. */
static u64 luo_memfd_step(const struct luo_memfd_run *run, bool by_folios)
{
	return by_folios ? 1ULL << run->order : run->pages;
}

/*
 * Has the pages of runs kept over a kexec, all of them or none. The tree of what is kept is
 * locked once for many of them.
 */
int luo_memfd_keep(const struct luo_memfd_run *runs, size_t count, bool by_folios)
{
	struct kho_preserving preserving;
	size_t at = 0;
	int err = 0;
	u64 i = 0;

	kho_preserve_begin(&preserving);
	while (at < count) {
		u64 step = luo_memfd_step(&runs[at], by_folios);

		for (i = 0; i < runs[at].pages && !err; i += step)
			err = kho_preserve_next(&preserving, runs[at].frame + i, step);
		if (err) {
			/* That piece is not kept. */
			i -= step;
			break;
		}
		at++;
	}
	kho_preserve_end(&preserving);
	if (!err)
		return 0;
	for (;;) {
		u64 step = luo_memfd_step(&runs[at], by_folios);

		while (i) {
			i -= step;
			kho_unpreserve_pages(pfn_to_page(runs[at].frame + i), step);
		}
		if (!at)
			return err;
		i = runs[--at].pages;
	}
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
