package dataco.clicks;

/**
 * A valid click.
 *
 * @param eventId the producer's id, or the one derived from the five required fields
 * @param userId opaque id of the visitor
 * @param timestamp when it happened, epoch ms, UTC
 * @param url as sent
 * @param page the URL in the form clicks are grouped by
 * @param ipAddress as sent
 * @param userAgent as sent; may be empty
 * @param country ISO 3166-1 alpha-2; {@code ZZ} when unknown
 * @param city empty when unknown, like the next three
 * @param browser name of the browser
 * @param operatingSystem name of the operating system
 * @param device kind or model of the device
 * @param referrer as sent; empty when there is none
 * @param referrerHost host of the other site that led here ({@link Page#referringHost}); empty when none did
 */
public record Click(
        String eventId,
        String userId,
        long timestamp,
        String url,
        String page,
        String ipAddress,
        String userAgent,
        String country,
        String city,
        String browser,
        String operatingSystem,
        String device,
        String referrer,
        String referrerHost)
        implements Verdict {}
