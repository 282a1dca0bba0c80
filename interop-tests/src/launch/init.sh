#!/bin/sh
# The first process of the test kernel. The machine's own files are the root: only what is below @OUT@ is written to.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
export TMPDIR=/run

# Should the launcher die, this kernel does not outlive its time.
( sleep @SECONDS@; echo o > /proc/sysrq-trigger ) &

# Modules are under /usr/lib/uml/modules, the kernel asks for them in /lib/modules: a loader of our own translates.
modules="@OUT@/modules"
mkdir -p "$modules/lib/modules"
ln -sfn "/usr/lib/uml/modules/$(uname -r)" "$modules/lib/modules/$(uname -r)"
printf '#!/bin/sh\nexec modprobe -d %s "$@"\n' "$modules" > "$modules/modprobe"
chmod 755 "$modules/modprobe"
echo "$modules/modprobe" > /proc/sys/kernel/modprobe
# Loaded before any test: the first SA would otherwise wait a second for them.
"$modules/modprobe" -a esp4 esp6 xfrm_user veth bridge gcm ghash-generic ctr seqiv authenc cbc sha256_generic hmac \
    chacha20poly1305 echainiv iptable_nat xt_MASQUERADE sch_netem act_nat cls_u32 sch_ingress

# All hosts of a scenario share one table of neighbours: forty that all speak to each other need more than 1,024 entries.
for setting in 1 2 3; do
    echo 8192 > "/proc/sys/net/ipv4/neigh/default/gc_thresh$setting"
done

@GUEST@ > @OUT@/guest.log 2>&1
echo "$?" > @OUT@/exit-code
echo o > /proc/sysrq-trigger
sleep 60
