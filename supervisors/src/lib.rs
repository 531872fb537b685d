//! OTP processes and supervisors for any actix program.
