namespace KvPrune.AI.Tests.Templates;

/// <summary>The time at which the goldens were rendered: 6 July 2024, 09:05:03.</summary>
internal sealed class FixedClock : TimeProvider
{
    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override DateTimeOffset GetUtcNow() => new(2024, 7, 6, 9, 5, 3, TimeSpan.Zero);
}
