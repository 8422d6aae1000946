/* SPDX-License-Identifier: MIT
 * Gives memory back that only starting up needed: freed heap, and pages of libraries' code, which
 * are read again from the page cache should they be needed after all. Any thread. */
#ifndef IO_FOOTPRINT_H
#define IO_FOOTPRINT_H

void footprint_trim(void);

#endif
