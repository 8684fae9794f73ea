using System.Globalization;
using Dmb.Tests.Redis;

namespace Dmb.Tests.Samples;

/// <summary>The desk of samples/, in each language: as a program of its own, with users on real nodes.</summary>
[Collection(RedisLane.Name)]
public sealed class DeskTests(SharedCluster cluster) : IAsyncDisposable
{
    private readonly Started _started = new();

    public static TheoryData<Language> Languages => [.. Enum.GetValues<Language>()];

    [Theory]
    [MemberData(nameof(Languages))]
    public async Task The_desk_greets_and_answers_each_user_and_broadcasts_to_all(Language language)
    {
        var desk = await OpenAsync(language);
        await using var alice = await desk.JoinAsync("alice");
        Assert.Equal("Hello alice.", await alice.HearsAsync("dmb:direct"));
        await using var bob = await desk.JoinAsync("bob", node: 1);
        Assert.Equal("Hello bob.", await bob.HearsAsync("dmb:direct"));

        await alice.SayTextAsync("I need a pen");
        await alice.IsAnsweredAsync("I need a pen");
        await bob.SayTextAsync("all: lunch is ready");
        Assert.Equal("bob: lunch is ready", await bob.HearsAsync("dmb:broadcast"));
        Assert.Equal("bob: lunch is ready", await alice.HearsAsync("dmb:broadcast"));
        Assert.Empty(await alice.ReadAllAsync());

        await desk.TerminateAsync();
    }

    [Theory]
    [MemberData(nameof(Languages))]
    public async Task The_desk_resumes_its_registration_and_answers_missed_messages_once(Language language)
    {
        var desk = await OpenAsync(language);
        var bkid = desk.Bkid;
        await using var alice = await desk.JoinAsync("alice");
        Assert.Equal("Hello alice.", await alice.HearsAsync("dmb:direct"));
        await desk.KillAsync();
        await alice.SayTextAsync("Anybody there?");
        await using var bob = await desk.JoinAsync("bob", node: 1);
        await bob.SayTextAsync("all: the desk is empty");

        await desk.StartAsync();
        Assert.Equal(bkid, desk.Bkid);
        await alice.IsAnsweredAsync("Anybody there?");
        Assert.Equal("Hello bob.", await bob.HearsAsync("dmb:direct"));
        Assert.Equal("bob: the desk is empty", await bob.HearsAsync("dmb:broadcast"));
        Assert.Equal("bob: the desk is empty", await alice.HearsAsync("dmb:broadcast"));
        await alice.SayTextAsync("You are back");
        await alice.IsAnsweredAsync("You are back");
    }

    [Theory]
    [MemberData(nameof(Languages))]
    public async Task The_desk_accepts_any_user_names_and_messages(Language language)
    {
        const string Name = """a "quoted" \name\, $(exit) `exit` 'ä' €,"session":"x""";
        var desk = await OpenAsync(language);
        await using var user = await desk.JoinAsync(Name);
        Assert.Equal($"Hello {Name}.", await user.HearsAsync("dmb:direct"));
        foreach (
            var text in (string[])
                [
                    "",
                    "\"",
                    "\\",
                    "line\nbreak\ttab",
                    "$HOME `exit` $(exit)",
                    "* %s %n ä € 😀",
                    "\",\"time\":\"x\"}",
                    "all:",
                    Name,
                ]
        )
        {
            await user.SayTextAsync(text);
            await user.IsAnsweredAsync(text);
        }

        await user.SayTextAsync($"all: {Name}");
        Assert.Equal($"{Name}: {Name}", await user.HearsAsync("dmb:broadcast"));

        var large = new string('x', 200_000);
        var deep = new string('[', 62) + new string(']', 62);
        var number = new string('1', 10_000);
        foreach (var data in (string[])["null", "42", "{}", "[\"all: x\",\n\n\"y\"]", $"\"{large}\"", deep, number])
        {
            await user.SayAsync(data);
            Assert.Equal("Please send a short text.", await user.HearsAsync("dmb:direct"));
        }

        await user.SayAsync("""  "not\ud800Unicode"  """);
        await user.ReadDataAsync("dmb:direct");
        await user.SayTextAsync("Still there?");
        await user.IsAnsweredAsync("Still there?");
    }

    [Theory]
    [MemberData(nameof(Languages))]
    public async Task The_desk_registers_again_as_itself_when_all_was_forgotten(Language language)
    {
        var redis = language >= Language.CSharp ? null : Started(await RedisServer.StartAsync());
        var port = RedisServer.FreePort().ToString(CultureInfo.InvariantCulture);
        var node = await StartNodeAsync(redis, port);
        var desk = await OpenAsync(language, [node], redis);
        var bkid = desk.Bkid;

        await node.KillAsync();
        if (redis is not null)
        {
            await redis.KillAsync();
            await redis.StartAsync();
        }

        await StartNodeAsync(redis, port);
        await desk.RegistersAsync(times: 2);
        Assert.Equal(bkid, desk.Bkid);
        await using var alice = await desk.JoinAsync("alice");
        Assert.Equal("Hello alice.", await alice.HearsAsync("dmb:direct"));
    }

    public ValueTask DisposeAsync() => _started.DisposeAsync();

    /// <summary>The desk on the shared nodes, or, if it needs no Redis, on one without.</summary>
    private async Task<DeskProcess> OpenAsync(Language language) =>
        language >= Language.CSharp
            ? await OpenAsync(language, [await StartNodeAsync(redis: null, "0")], redis: null)
            : await OpenAsync(language, cluster.Nodes, cluster.Redis);

    private async Task<DeskProcess> OpenAsync(Language language, IReadOnlyList<NodeProcess> nodes, RedisServer? redis)
    {
        var desk = Started(new DeskProcess(language, nodes, redis));
        await desk.StartAsync();
        return desk;
    }

    private async Task<NodeProcess> StartNodeAsync(RedisServer? redis, string port)
    {
        var node = Started(
            await NodeProcess.StartAsync(
                ("DMB_PORT", port),
                ("REDIS_HOST", redis is null ? "none" : "127.0.0.1"),
                ("REDIS_PORT", $"{redis?.Port ?? 6379}")
            )
        );
        if (redis is not null)
        {
            await node.BecomesAsync("ready");
        }

        return node;
    }

    private T Started<T>(T what)
        where T : IAsyncDisposable
    {
        _started.Add(what);
        return what;
    }
}
