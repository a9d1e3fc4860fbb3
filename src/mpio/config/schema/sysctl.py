"""sysctl.conf: the few kernel settings that decide whether a fenced node comes back, and how long TCP keeps trying.

Sources: linux Documentation/admin-guide/sysctl/kernel.rst, Documentation/networking/ip-sysctl.rst.
"""

from mpio.config.files import Kind
from mpio.config.schema.key import Default, Key, Schema

_KERNEL = "linux Documentation/admin-guide/sysctl/kernel.rst"
_IP = "linux Documentation/networking/ip-sysctl.rst"
_INT_MAX = 2**31 - 1

SYSCTL = Schema(
    kind=Kind.SYSCTL, title="sysctl.conf", places=("/etc/sysctl.conf", "/etc/sysctl.d/*.conf"), program="sysctl",
    package="linux",
    about="Dots and slashes in a key mean the same, and a leading `-` lets an error pass. Other keys are let pass.",
    keys=(
        Key("kernel.panic", "After how long a panicked node reboots.", unit="s", low=-_INT_MAX, high=_INT_MAX,
            default="0", words=(("0", "never: it hangs, and peers wait for ever for its locks"), ("-1", "at once")),
            source=f"{_KERNEL}, o2cb(7)"),
        Key("kernel.panic_on_oops", "Whether an oops is a panic; OCFS2 wants 1.", low=0, high=1, default="0",
            others=(Default("1", distribution="rhel"),), source=f"{_KERNEL}, o2cb(7)"),
        Key("kernel.hung_task_timeout_secs", "After how long a task in D state is reported.", unit="s", low=0,
            high=_INT_MAX, default="120", words=(("0", "never"),), source=_KERNEL),
        Key("kernel.hung_task_panic", "Whether that is a panic; with a long stall of storage, a fence.", low=0, high=1,
            default="0", source=_KERNEL),
        Key("kernel.sysrq", "Which magic keys work.", low=0, high=511, default="1",
            others=(Default("438", distribution="debian"), Default("16", distribution="rhel")), source=_KERNEL),
        Key("net.ipv4.tcp_retries2", "After how many retransmissions TCP gives up; decisive only without pings.",
            unit="retransmissions", low=1, high=255, default="15", source=_IP),
        Key("net.ipv4.tcp_syn_retries", "How often a connect is tried before it fails.", unit="tries", low=1,
            high=127, default="6", source=_IP),
        Key("net.ipv4.tcp_syn_linear_timeouts", "How many of these come at one-second intervals.", unit="tries",
            low=0, high=127, default="4", since=(6, 5), source=_IP),
        Key("net.ipv4.tcp_rto_min_us", "Least retransmission timeout.", unit="us", low=1, high=_INT_MAX,
            default="200000", since=(6, 11), source=_IP),
        Key("net.ipv4.conf.*.rp_filter", "Reverse path filter; 1 drops answers of a second interface in one subnet.",
            low=0, high=2, default="0", others=(Default("1", distribution="rhel"), Default("2", distribution="debian")),
            source=_IP),
        Key("net.ipv4.conf.*.arp_ignore", "Which ARP requests are answered; 1 with two interfaces in one subnet.",
            low=0, high=8, default="0", source=_IP),
        Key("net.ipv4.conf.*.arp_announce", "Which source address ARP names; 2 with two interfaces in one subnet.",
            low=0, high=2, default="0", source=_IP),
    ),
    unknown="", invalid="the kernel refuses it", outside="the kernel refuses it",
)
