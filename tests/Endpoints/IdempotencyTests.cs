namespace Dmb.Tests.Endpoints;

/// <summary>Idempotency-Key: a push that was sent twice is delivered once.</summary>
public sealed class IdempotencyTests : IAsyncLifetime
{
    private Node _node = null!;

    public async ValueTask InitializeAsync() => _node = await Node.StartAsync();

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Fact]
    public async Task A_repeated_key_gets_the_first_result_without_a_delivery()
    {
        await using var client = await _node.JoinAsync("calls");
        var id = (await PushAsync("call", "1", "k")).TakenId();
        Assert.Equal($$"""{"ok":true,"id":"{{id}}","duplicate":true}""", (await PushAsync("call", "2", "k")).Body);
        var other = (await PushAsync("call", "3", "K")).TakenId();

        await client.GetsAsync("call", "1", id);
        await client.GetsAsync("call", "3", other);
    }

    [Fact]
    public async Task Senders_that_race_with_one_key_deliver_once()
    {
        await using var client = await _node.JoinAsync("calls");
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => PushAsync("call", "1", "race")));
        var id = Assert.Single(answers.Select(answer => answer.TakenId()).Distinct());
        Assert.Single(answers, answer => answer.Body == $$"""{"ok":true,"id":"{{id}}"}""");

        await client.GetsAsync("call", "1", id);
        await _node.ReachesAsync(client, "call", "2");
    }

    [Fact]
    public async Task A_key_is_remembered_for_five_minutes_from_its_first_use()
    {
        var id = (await PushAsync("call", "1", "k")).TakenId();

        _node.Time.Advance(TimeSpan.FromMinutes(5) - TimeSpan.FromMilliseconds(1));
        Assert.Equal($$"""{"ok":true,"id":"{{id}}","duplicate":true}""", (await PushAsync("call", "1", "k")).Body);

        _node.Time.Advance(TimeSpan.FromMilliseconds(1));
        await using var client = await _node.JoinAsync("calls");
        var again = (await PushAsync("call", "2", "k")).TakenId();
        Assert.NotEqual(id, again);
        await client.GetsAsync("call", "2", again);
    }

    [Fact]
    public async Task A_push_that_was_ignored_or_refused_is_not_remembered()
    {
        Assert.Equal("""{"ok":false,"ignore":true}""", (await PushAsync("later", "1", "k")).Body);
        (await PushAsync("call", "{", "k")).IsProblem(400, "bad_json");
        var crowd = $$"""{"_in":[{{string.Join(',', new int[101])}}]}""";
        (await PushAsync("call", crowd, "k")).IsProblem(400, "too_many_rooms");

        await RawHttp.AskAsync(_node, "POST /register", """{"event":"later"}""");
        Assert.DoesNotContain("duplicate", (await PushAsync("later", "1", "k")).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_header_and_an_item_of_a_batch_share_their_keys()
    {
        var id = (await PushAsync("call", "1", "k")).TakenId();
        var batch = await RawHttp.AskAsync(_node, "POST /_notify", """[{"event":"call","id":"k"}]""");
        Assert.Equal($$"""{"ok":true,"results":[{"ok":true,"id":"{{id}}","duplicate":true}]}""", batch.Body);
    }

    [Fact]
    public async Task A_key_may_have_64_characters_and_no_more()
    {
        (await PushAsync("call", "1", new string('k', 64))).TakenId();
        (await PushAsync("call", "1", new string('k', 65))).IsProblem(400, "bad_name");
    }

    [Fact]
    public async Task At_the_maximum_number_of_keys_the_oldest_is_dropped()
    {
        await using var node = await Node.StartAsync(("MaxIdempotencyKeys", "2"));
        Task<RawAnswer> PushAsync(string key) =>
            RawHttp.AskAsync(node, "POST /_notify/call", "1", "Idempotency-Key: " + key);

        await PushAsync("a");
        await PushAsync("b");
        await PushAsync("c");
        Assert.Contains("duplicate", (await PushAsync("c")).Body, StringComparison.Ordinal);
        Assert.Contains("duplicate", (await PushAsync("b")).Body, StringComparison.Ordinal);
        Assert.DoesNotContain("duplicate", (await PushAsync("a")).Body, StringComparison.Ordinal);
    }

    private Task<RawAnswer> PushAsync(string @event, string body, string key)
    {
        return RawHttp.AskAsync(_node, "POST /_notify/" + @event, body, "Idempotency-Key: " + key);
    }
}
