/*
 * Lets User-Mode Linux 6.1 run on processors with AMX.
 *
 * UML keeps a process's extended registers in a buffer of 2,696 octets (AVX-512 and PKRU) and writes them back with
 * PTRACE_SETREGSET. Where the processor has AMX the kernel's set is larger, and the kernel takes it whole or not at
 * all: UML cannot restore a register and its init dies at once. Nothing inside UML can use the tiles (that takes a
 * permission which UML does not give), so what is missing from the buffer is in its initial state: this wrapper, put
 * before libc's by LD_PRELOAD, writes that state out in full.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

#define WHOLE_SET (64 * 1024)
#define XSTATE_BV 512 /* offset of the bitmap of components that are not in their initial state */
#define AMX_COMPONENTS ((UINT64_C(1) << 17) | (UINT64_C(1) << 18))

static long (*libc_ptrace)(int request, pid_t pid, void *addr, void *data);
/* UML restores registers from one thread, so one buffer serves. */
static unsigned char whole[WHOLE_SET];

__attribute__((constructor)) static void find_libc(void)
{
    libc_ptrace = (long (*)(int, pid_t, void *, void *))dlsym(RTLD_NEXT, "ptrace");
}

static long set_whole_xstate(pid_t pid, const struct iovec *given)
{
    struct iovec set = { .iov_base = whole, .iov_len = sizeof whole };
    uint64_t components;

    if (libc_ptrace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &set) < 0)
        return -1;
    if (set.iov_len <= given->iov_len)
        return libc_ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, (void *)given);
    memset(whole + given->iov_len, 0, set.iov_len - given->iov_len);
    memcpy(whole, given->iov_base, given->iov_len);
    memcpy(&components, whole + XSTATE_BV, sizeof components);
    components &= ~AMX_COMPONENTS;
    memcpy(whole + XSTATE_BV, &components, sizeof components);
    return libc_ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &set);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list arguments;
    pid_t pid;
    void *addr, *data;

    va_start(arguments, request);
    pid = va_arg(arguments, pid_t);
    addr = va_arg(arguments, void *);
    data = va_arg(arguments, void *);
    va_end(arguments);

    if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE)
        return set_whole_xstate(pid, data);
    return libc_ptrace(request, pid, addr, data);
}
