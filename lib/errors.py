"""The one exception a user of the study should ever meet."""


class StudyError(ValueError):
    """Something asked of the study cannot be done; the message says what was asked, what exists,
    what to do next.
    """
