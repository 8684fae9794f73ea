using System.Text.Json;
using System.Text.Json.Nodes;

namespace Dmb.Tests.Clients;

/// <summary>
/// A client in a process of its own, that takes commands and tells events as clients/conformance/README.md says.
/// </summary>
public sealed class ClientDriver(ChildProcess process) : IAsyncDisposable
{
    private readonly Dictionary<string, Queue<JsonNode>> _kept = [];
    private int _read;
    private int _commands;

    /// <summary>Gives a command, and its number.</summary>
    public async Task<int> BeginAsync(JsonObject command)
    {
        command["id"] = ++_commands;
        await process.WriteLineAsync(command.ToJsonString());
        return _commands;
    }

    /// <summary>The answer to a command: <c>data</c> or <c>error</c>.</summary>
    public async Task<JsonObject> AnswerAsync(int command)
    {
        JsonNode answer;
        do
        {
            answer = await NextAsync("answer");
        } while ((int?)answer["answer"] != command);

        return answer.AsObject();
    }

    /// <summary>The next event of this type, told already or to come; those of other types are kept.</summary>
    public async Task<JsonNode> NextAsync(string type)
    {
        while (!Kept(type).TryPeek(out _))
        {
            Keep(await process.LineAtAsync(_read++));
        }

        return Kept(type).Dequeue();
    }

    /// <summary>What was told of these types, and not read.</summary>
    public IEnumerable<string> Left(params string[] types)
    {
        for (var lines = process.Lines; _read < lines.Length; )
        {
            Keep(lines[_read++]);
        }

        return types.SelectMany(type => Kept(type).Select(node => $"{type}: {node.ToJsonString()}"));
    }

    /// <summary>All that it said, for a test that fails.</summary>
    public override string ToString() => string.Join('\n', process.Lines);

    public ValueTask DisposeAsync() => process.DisposeAsync();

    private Queue<JsonNode> Kept(string type) => _kept.TryGetValue(type, out var kept) ? kept : _kept[type] = new();

    private void Keep(string line)
    {
        JsonObject told;
        try
        {
            told = JsonNode.Parse(line)!.AsObject();
        }
        catch (JsonException)
        {
            throw new InvalidDataException($"Not an event: {this}");
        }

        var (type, value) = told.First();
        Kept(type).Enqueue(type == "answer" ? told : value!.DeepClone());
    }
}
