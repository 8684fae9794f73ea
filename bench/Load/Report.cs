using System.Text.Json;
using System.Text.Json.Serialization;

namespace Dmb.Bench.Load;

/// <summary>What was measured. "Us" is microseconds of CPU time, user and system, or of latency.</summary>
internal sealed class Report(LoadOptions options, string loadAverage, Tally tally, Usage connecting, Usage publishing)
{
    public string Server =>
        options.Server.Title
        + (
            options.Url is not null ? ", as it runs"
            : options.Server.Redis ? ", over Redis"
            : ""
        );
    public int Subscribers => options.Subscribers;
    public string Room =>
        options.Subscribers == 0 ? "none"
        : options.RoomsOfOne ? "rooms of one"
        : options.Room;
    public int InFlight => options.InFlight;
    public int Rate => options.Rate;
    public int PayloadBytes => options.PayloadBytes;
    public string LoadAverage => loadAverage;

    public int Publishes => tally.Answered;
    public long Deliveries => tally.Delivered;
    public double Seconds => publishing.Elapsed.TotalSeconds;
    public double PublishesPerSecond => tally.Answered / Seconds;
    public double DeliveriesPerSecond => tally.Delivered / Seconds;

    public double DeliveryP50Us => tally.DeliveryTimes.Percentile(0.5);
    public double DeliveryP99Us => tally.DeliveryTimes.Percentile(0.99);
    public double DeliveryMaxUs => tally.DeliveryTimes.Max / 1e3;
    public double AnswerP50Us => tally.AnswerTimes.Percentile(0.5);
    public double AnswerP99Us => tally.AnswerTimes.Percentile(0.99);
    public double AnswerMaxUs => tally.AnswerTimes.Max / 1e3;

    public int Unanswered => tally.Publishes - tally.Answered;
    public int Refused => tally.Refused;
    public long Lost => tally.Expected - tally.Delivered;
    public long Doubled => tally.Doubled;
    public long Misrouted => tally.Misrouted;
    public long OutOfOrder => tally.OutOfOrder;
    public required int Closed { get; init; }
    public required int LastCloseCode { get; init; }
    public required int OtherFrames { get; init; }

    public double ServerUsPerPublish => Per(publishing.Server, tally.Answered);
    public double ServerUsPerDelivery => Per(publishing.Server, tally.Delivered);
    public double? RedisUsPerPublish => options.Server.Redis ? Per(publishing.Beside, tally.Answered) : null;
    public double? RedisUsPerDelivery => options.Server.Redis ? Per(publishing.Beside, tally.Delivered) : null;
    public double GeneratorUsPerPublish => Per(publishing.Generator, tally.Answered);
    public double GeneratorUsPerDelivery => Per(publishing.Generator, tally.Delivered);

    public double ConnectsPerSecond => options.Subscribers / connecting.Elapsed.TotalSeconds;
    public double ServerUsPerConnect => Per(connecting.Server, options.Subscribers);

    /// <summary>From the start of the server's process on; null when it was running already.</summary>
    public required double? FirstAnswerMs { get; init; }
    public required long RssBefore { get; init; }
    public required long RssIdle { get; init; }
    public required long RssAfter { get; init; }
    public long RssPerSubscriber => options.Subscribers == 0 ? 0 : (RssIdle - RssBefore) / options.Subscribers;

    /// <summary>Everything was answered and delivered, once and in order, and nobody was thrown out.</summary>
    [JsonIgnore]
    public bool Complete =>
        tally.Complete && Refused == 0 && Doubled == 0 && Misrouted == 0 && OutOfOrder == 0 && Closed == 0;

    public string ToJson() => JsonSerializer.Serialize(this, JsonSerializerOptions.Web);

    public string ToText()
    {
        var pace = Rate > 0 ? $"{Rate:N0}/s over {InFlight} connections" : $"{InFlight} in flight";
        var start = FirstAnswerMs is { } ms ? $"{ms:N1} ms after the server's start" : "not timed: it was running";
        var redis = options.Server.Redis
            ? $"\nRedis's CPU    {RedisUsPerPublish:N2} us per publish, {RedisUsPerDelivery:N2} us per delivery"
            : "";
        return $"""
            {Server}: {Subscribers:N0} subscribers ({Room}), {pace}, {PayloadBytes:N0} bytes, load average before: {LoadAverage}
            throughput     {PublishesPerSecond:N0} publishes/s, {DeliveriesPerSecond:N0} deliveries/s, {Seconds:N1} s
            delivered in   p50 {DeliveryP50Us:N0} us, p99 {DeliveryP99Us:N0} us, max {DeliveryMaxUs:N0} us
            answered in    p50 {AnswerP50Us:N0} us, p99 {AnswerP99Us:N0} us, max {AnswerMaxUs:N0} us
            deliveries     {Lost:N0} of {tally.Expected:N0} lost, {Doubled:N0} doubled, {Misrouted:N0} misrouted,
                           {OutOfOrder:N0} out of order
            publishes      {Unanswered:N0} of {tally.Publishes:N0} unanswered, {Refused:N0} refused
            subscribers    {Closed:N0} closed (last code {LastCloseCode}), {OtherFrames:N0} frames of other kinds
            server CPU     {ServerUsPerPublish:N2} us per publish, {ServerUsPerDelivery:N2} us per delivery{redis}
            generator CPU  {GeneratorUsPerPublish:N2} us per publish, {GeneratorUsPerDelivery:N2} us per delivery
            connecting     {ConnectsPerSecond:N0}/s, {ServerUsPerConnect:N0} us of server CPU each
            server memory  {RssBefore >> 10:N0} KiB before, {RssIdle >> 10:N0} KiB with idle subscribers
                           ({RssPerSubscriber:N0} bytes each), {RssAfter >> 10:N0} KiB after
            first answer   {start}
            """;
    }

    private static double Per(TimeSpan cpu, long count) => count == 0 ? 0 : cpu.TotalMicroseconds / count;
}
