//! The kernel's XFRM database over netlink.
