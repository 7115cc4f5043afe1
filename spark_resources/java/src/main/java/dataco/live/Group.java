package dataco.live;

/**
 * What clicks are grouped by within an hour.
 *
 * @param page the page
 * @param country ISO 3166-1 alpha-2, or {@code ZZ}
 */
record Group(String page, String country) {}
