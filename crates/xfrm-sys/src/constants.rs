//! The kernel's names and numbers (`include/uapi/linux/{xfrm,netlink,udp,in,in6}.h`), in one place.

/// `NLMSG_NOOP`.
pub const NLMSG_NOOP: u16 = 1;
/// `NLMSG_ERROR`: an acknowledgement (errno 0) or a refusal.
pub const NLMSG_ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
pub const NLMSG_DONE: u16 = 3;
/// `NLMSG_OVERRUN`.
pub const NLMSG_OVERRUN: u16 = 4;

/// `NLM_F_REQUEST`.
pub const NLM_F_REQUEST: u16 = 0x01;
/// `NLM_F_MULTI`: one of several messages, ended by `NLMSG_DONE`.
pub const NLM_F_MULTI: u16 = 0x02;
/// `NLM_F_ACK`: an acknowledgement is wanted.
pub const NLM_F_ACK: u16 = 0x04;
/// `NLM_F_DUMP_INTR`: the table changed under a dump.
pub const NLM_F_DUMP_INTR: u16 = 0x10;
/// `NLM_F_DUMP` (`NLM_F_ROOT | NLM_F_MATCH`).
pub const NLM_F_DUMP: u16 = 0x300;
/// `NLM_F_CAPPED`: an error message quotes the header of the request only.
pub const NLM_F_CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: an error message carries extended-ack attributes.
pub const NLM_F_ACK_TLVS: u16 = 0x200;

/// `NLMSGERR_ATTR_MSG`: the extended-ack text.
pub const NLMSGERR_ATTR_MSG: u16 = 1;
/// `NLA_TYPE_MASK`: an attribute's kind without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
pub const NLA_TYPE_MASK: u16 = 0x3fff;

/// `XFRM_MSG_NEWSA`.
pub const XFRM_MSG_NEWSA: u16 = 0x10;
/// `XFRM_MSG_DELSA`.
pub const XFRM_MSG_DELSA: u16 = 0x11;
/// `XFRM_MSG_GETSA`.
pub const XFRM_MSG_GETSA: u16 = 0x12;
/// `XFRM_MSG_NEWPOLICY`.
pub const XFRM_MSG_NEWPOLICY: u16 = 0x13;
/// `XFRM_MSG_DELPOLICY`.
pub const XFRM_MSG_DELPOLICY: u16 = 0x14;
/// `XFRM_MSG_GETPOLICY`.
pub const XFRM_MSG_GETPOLICY: u16 = 0x15;
/// `XFRM_MSG_ALLOCSPI`.
pub const XFRM_MSG_ALLOCSPI: u16 = 0x16;
/// `XFRM_MSG_ACQUIRE`.
pub const XFRM_MSG_ACQUIRE: u16 = 0x17;
/// `XFRM_MSG_EXPIRE`.
pub const XFRM_MSG_EXPIRE: u16 = 0x18;
/// `XFRM_MSG_UPDPOLICY`.
pub const XFRM_MSG_UPDPOLICY: u16 = 0x19;
/// `XFRM_MSG_UPDSA`.
pub const XFRM_MSG_UPDSA: u16 = 0x1a;
/// `XFRM_MSG_POLEXPIRE`.
pub const XFRM_MSG_POLEXPIRE: u16 = 0x1b;
/// `XFRM_MSG_FLUSHSA`.
pub const XFRM_MSG_FLUSHSA: u16 = 0x1c;
/// `XFRM_MSG_FLUSHPOLICY`.
pub const XFRM_MSG_FLUSHPOLICY: u16 = 0x1d;
/// `XFRM_MSG_MAPPING`.
pub const XFRM_MSG_MAPPING: u16 = 0x26;

/// `XFRMA_ALG_AUTH`: `struct xfrm_algo`.
pub const XFRMA_ALG_AUTH: u16 = 1;
/// `XFRMA_ALG_CRYPT`: `struct xfrm_algo`.
pub const XFRMA_ALG_CRYPT: u16 = 2;
/// `XFRMA_ALG_COMP`: `struct xfrm_algo`.
pub const XFRMA_ALG_COMP: u16 = 3;
/// `XFRMA_ENCAP`: `struct xfrm_encap_tmpl`.
pub const XFRMA_ENCAP: u16 = 4;
/// `XFRMA_TMPL`: `struct xfrm_user_tmpl`, repeated.
pub const XFRMA_TMPL: u16 = 5;
/// `XFRMA_SA`: `struct xfrm_usersa_info`.
pub const XFRMA_SA: u16 = 6;
/// `XFRMA_POLICY`: `struct xfrm_userpolicy_info`.
pub const XFRMA_POLICY: u16 = 7;
/// `XFRMA_SEC_CTX`: `struct xfrm_user_sec_ctx`.
pub const XFRMA_SEC_CTX: u16 = 8;
/// `XFRMA_REPLAY_VAL`: `struct xfrm_replay_state`.
pub const XFRMA_REPLAY_VAL: u16 = 10;
/// `XFRMA_SRCADDR`: `xfrm_address_t`.
pub const XFRMA_SRCADDR: u16 = 13;
/// `XFRMA_LASTUSED`: `__u64`, wall-clock seconds.
pub const XFRMA_LASTUSED: u16 = 15;
/// `XFRMA_POLICY_TYPE`: `struct xfrm_userpolicy_type`.
pub const XFRMA_POLICY_TYPE: u16 = 16;
/// `XFRMA_ALG_AEAD`: `struct xfrm_algo_aead`.
pub const XFRMA_ALG_AEAD: u16 = 18;
/// `XFRMA_ALG_AUTH_TRUNC`: `struct xfrm_algo_auth`.
pub const XFRMA_ALG_AUTH_TRUNC: u16 = 20;
/// `XFRMA_MARK`: `struct xfrm_mark`.
pub const XFRMA_MARK: u16 = 21;
/// `XFRMA_TFCPAD`: `__u32`.
pub const XFRMA_TFCPAD: u16 = 22;
/// `XFRMA_REPLAY_ESN_VAL`: `struct xfrm_replay_state_esn`.
pub const XFRMA_REPLAY_ESN_VAL: u16 = 23;
/// `XFRMA_SA_EXTRA_FLAGS`: `__u32`.
pub const XFRMA_SA_EXTRA_FLAGS: u16 = 24;
/// `XFRMA_PROTO`: `__u8`.
pub const XFRMA_PROTO: u16 = 25;
/// `XFRMA_ADDRESS_FILTER`: `struct xfrm_address_filter`.
pub const XFRMA_ADDRESS_FILTER: u16 = 26;
/// `XFRMA_PAD`: nothing, for alignment.
pub const XFRMA_PAD: u16 = 27;
/// `XFRMA_SET_MARK`: `__u32`.
pub const XFRMA_SET_MARK: u16 = 29;
/// `XFRMA_SET_MARK_MASK`: `__u32`.
pub const XFRMA_SET_MARK_MASK: u16 = 30;
/// `XFRMA_IF_ID`: `__u32`.
pub const XFRMA_IF_ID: u16 = 31;
/// `XFRMA_SA_DIR`: `__u8` (Linux 6.10).
pub const XFRMA_SA_DIR: u16 = 33;
/// `XFRMA_SA_PCPU`: `__u32` (Linux 6.13).
pub const XFRMA_SA_PCPU: u16 = 35;

/// `XFRMNLGRP_ACQUIRE`.
pub const XFRMNLGRP_ACQUIRE: u32 = 1;
/// `XFRMNLGRP_EXPIRE`.
pub const XFRMNLGRP_EXPIRE: u32 = 2;
/// `XFRMNLGRP_SA`.
pub const XFRMNLGRP_SA: u32 = 3;
/// `XFRMNLGRP_POLICY`.
pub const XFRMNLGRP_POLICY: u32 = 4;
/// `XFRMNLGRP_MAPPING`.
pub const XFRMNLGRP_MAPPING: u32 = 8;

/// `XFRM_INF`: a byte or packet limit that is never reached.
pub const XFRM_INF: u64 = u64::MAX;
/// `XFRMA_REPLAY_ESN_MAX`: the widest replay window, in packets.
pub const XFRMA_REPLAY_ESN_MAX: u32 = 4096;
/// `XFRM_MAX_DEPTH`: the most templates a policy can have.
pub const XFRM_MAX_DEPTH: usize = 6;
/// Octets of `alg_name`, its NUL included.
pub const ALG_NAME_LEN: usize = 64;

/// `AF_UNSPEC`.
pub const AF_UNSPEC: u16 = 0;
/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// `UDP_ENCAP`, an option of level `IPPROTO_UDP`.
pub const UDP_ENCAP: i32 = 100;
/// `UDP_ENCAP_ESPINUDP` (RFC 3948).
pub const UDP_ENCAP_ESPINUDP: i32 = 2;
/// `IP_XFRM_POLICY`, an option of level `IPPROTO_IP`.
pub const IP_XFRM_POLICY: i32 = 17;
/// `IPV6_XFRM_POLICY`, an option of level `IPPROTO_IPV6`.
pub const IPV6_XFRM_POLICY: i32 = 35;
