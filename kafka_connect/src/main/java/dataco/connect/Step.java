package dataco.connect;

/** The points of a checkpoint at which a test may end the worker. */
enum Step {
    OPENED,
    CHECKPOINT_BEGUN,
    ROWS_STORED,
    REJECTED_ACKNOWLEDGED,
    HOURS_MARKED,
    OFFSETS_MOVED
}
