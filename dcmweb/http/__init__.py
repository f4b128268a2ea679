"""HTTP itself: one pooled session, authentication, media types, multipart streams."""
