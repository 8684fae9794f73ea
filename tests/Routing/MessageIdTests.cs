using System.Globalization;
using Dmb.Routing;

namespace Dmb.Tests.Routing;

public sealed class MessageIdTests
{
    [Fact]
    public void An_id_is_a_version_7_uuid_of_its_time()
    {
        var time = new ManualTime();
        var hex = time.GetUtcNow().ToUnixTimeMilliseconds().ToString("x12", CultureInfo.InvariantCulture);
        for (var i = 0; i < 1_000; i++)
        {
            var id = MessageId.New(time);
            Assert.Equal(36, id.Length);
            Assert.StartsWith($"{hex[..8]}-{hex[8..]}-7", id, StringComparison.Ordinal);
            Assert.Contains(id[19], "89ab");
            Assert.Equal(7, Guid.Parse(id, CultureInfo.InvariantCulture).Version);
        }
    }

    [Fact]
    public async Task Ids_of_all_threads_are_unique()
    {
        var ids = await Task.WhenAll(
            Enumerable
                .Range(0, 8)
                .Select(_ =>
                    Task.Run(() => Enumerable.Range(0, 5_000).Select(_ => MessageId.New(TimeProvider.System)).ToArray())
                )
        );
        Assert.Equal(40_000, ids.SelectMany(id => id).Distinct().Count());
    }
}
