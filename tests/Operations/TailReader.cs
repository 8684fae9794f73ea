using System.Text.Json;

namespace Dmb.Tests.Operations;

/// <summary>A client of <c>GET /tail</c> whose tail is open on all nodes.</summary>
public sealed class TailReader : IDisposable
{
    private readonly EventReader _events;

    private TailReader(EventReader events) => _events = events;

    public static async Task<TailReader> OpenAsync(HttpClient http, Uri node, string query = "")
    {
        var events = await EventReader.OpenAsync(http, new Uri(node, "/tail" + query));
        Assert.Equal(": connected", await events.ReadAsync());
        return new TailReader(events);
    }

    /// <summary>The next trace; the test fails if something else comes first.</summary>
    public async Task<JsonElement> ReadAsync()
    {
        var (name, data) = await ReadAnyAsync();
        Assert.Equal("trace", name);
        return data;
    }

    /// <summary>The next event, whatever it is; comments are read past.</summary>
    public async Task<(string Name, JsonElement Data)> ReadAnyAsync()
    {
        string text;
        do
        {
            text = await _events.ReadAsync();
        } while (text[0] == ':');

        var lines = text.Split('\n');
        return (lines[0]["event: ".Length..], JsonElement.Parse(lines[1]["data: ".Length..]));
    }

    public void Dispose() => _events.Dispose();
}
