package dataco.clicks;

/** What a Kafka record turned out to be: a click, or the reason why it is none. */
public sealed interface Verdict permits Click, Rejection {}
