// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is otherwise for memory of virtual machines (guest_memfd): how a file becomes what it
 * was, and how pages come into it. What only KVM knows of it is done there
 * (include/linux/liveupdate_kvm.h).
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

#include "luo_guest_mm.h"
#include "luo_hugetlb_mm.h"
#include "luo_memfd_mm.h"

/* A file that KVM has just made, of the right size. Nobody can seal it. */
int luo_guest_become(struct file *file, const struct luo_memfd_facts *facts)
{
	struct inode *inode = file_inode(file);

	if (facts->seals || facts->huge)
		return -EINVAL;
	inode->i_mode = S_IFREG | (facts->mode & S_IALLUGO);
	return luo_memfd_become(file, facts);
}

/*
 * Puts pages that came back into a file, which nobody else knows yet. Those that are in it are
 * taken off the runs, whatever is returned. All of KVM's pages are single ones.
 */
int luo_guest_insert(struct file *file, struct luo_memfd_run *runs, size_t count,
		     gfp_t gfp)
{
	struct luo_memfd_run *run = runs;

	for (; run < runs + count; run++) {
		if (run->order)
			return -EINVAL;
		while (run->pages) {
			struct folio *folio = pfn_folio(run->frame);
			int err = filemap_add_folio(file->f_mapping, folio,
						    run->index, gfp);

			if (err)
				return err;
			/* Of others KVM makes zeros before anybody sees them. */
			if (run->state == LUO_MEMFD_WRITTEN)
				folio_mark_uptodate(folio);
			folio_unlock(folio);
			folio_put(folio);
			luo_memfd_advance(run, 1);
			cond_resched();
		}
	}
	return 0;
}
