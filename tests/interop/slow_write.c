/* Preloaded into a target: one write to its store at a time can be held back, as a disk does that tries again and again.
 *
 * With SLOW_WRITE=P in the environment, the next pwrite after the file P.hold has appeared takes it for P.held, waits for
 * P.release (or 30 s), is carried out, and leaves P.done. All other writes pass.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static const char *name(char *text, size_t size, const char *suffix)
{
	snprintf(text, size, "%s.%s", getenv("SLOW_WRITE"), suffix);
	return text;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset)
{
	static ssize_t (*next)(int, const void *, size_t, off_t);
	char from[4096], to[4096];
	int held, tries;
	ssize_t done;

	if (!next)
		next = dlsym(RTLD_NEXT, "pwrite64");
	held = getenv("SLOW_WRITE") && !rename(name(from, sizeof(from), "hold"), name(to, sizeof(to), "held"));
	for (tries = 0; held && tries < 6000 && access(name(from, sizeof(from), "release"), F_OK); tries++)
		usleep(5000);
	done = next(fd, data, length, offset);
	if (held)
		close(open(name(from, sizeof(from), "done"), O_CREAT | O_WRONLY, 0600));
	return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
	return pwrite64(fd, data, length, offset);
}
