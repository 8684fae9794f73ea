namespace Dmb.Tests.Contracts;

public sealed class ReadmeTests
{
    private const string Start = "<!-- settings -->\n";
    private const string End = "<!-- /settings -->";

    [Fact]
    public async Task The_table_of_settings_is_what_the_options_say()
    {
        var path = Path.Combine(Repository.Root, "README.md");
        var readme = await File.ReadAllTextAsync(path);
        var (start, end) = (readme.IndexOf(Start, StringComparison.Ordinal) + Start.Length, readme.IndexOf(End, StringComparison.Ordinal));
        if (Environment.GetEnvironmentVariable("UPDATE_README") == "1")
        {
            await File.WriteAllTextAsync(path, readme[..start] + Settings.Table() + readme[end..]);
        }

        Assert.Equal(Settings.Table(), readme[start..end]);
    }
}
