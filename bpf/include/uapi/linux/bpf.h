/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/* Empty stand-in: BCC asks for this file, our programs use nothing of it. */
